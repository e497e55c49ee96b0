/** Every file of the fuzzer from its number: a base and one to three kinds of damage. */
import { dtypes } from "../../src/formats/index.js";
import type { Base } from "./bases.js";
import { Dice } from "./dice.js";
import { insertKeys } from "./hostile-keys.js";
import type { Field, Layout, TensorSpan } from "./layout.js";

export interface DamagedModel {
  readonly what: string;
  /** Undefined: this shard is missing. */
  readonly files: readonly (Uint8Array | undefined)[];
}

/** Changes a copy of the file in place, or returns another one. */
type Damage = (d: Dice, file: Layout, bytes: Uint8Array, bases: readonly Base[]) => Uint8Array;

const kinds: Readonly<Record<string, { readonly weight: number; readonly damage: Damage }>> = {
  none: { weight: 1, damage: (_d, _f, bytes) => bytes },
  truncated: { weight: 8, damage: (d, file, bytes) => bytes.subarray(0, d.below(end(d, file))) },
  extended: { weight: 1, damage: (d, _f, bytes) => joined(bytes, new Uint8Array(d.below(4096)).fill(d.words())) },
  flipped: { weight: 14, damage: flip },
  fields: {
    weight: 18,
    damage: (d, file, bytes) => times(d, 3, () => hostile(d, bytes, d.pick(file.fields))) ?? bytes,
  },
  lengths: { weight: 8, damage: inFields((f) => f.kind === "length" || f.kind === "count") },
  shapes: { weight: 8, damage: inFields((f) => f.kind === "dim" || f.kind === "rank" || f.kind === "offset") },
  types: { weight: 8, damage: retype },
  hyper: { weight: 18, damage: inFields((f) => f.kind === "value" && !f.owner.startsWith("tokenizer."), true) },
  tokenizer: { weight: 14, damage: inFields((f) => f.owner.startsWith("tokenizer.")) },
  keys: { weight: 10, damage: (d, file, bytes) => insertKeys(d, file, bytes) },
  splice: { weight: 10, damage: splice },
  weights: { weight: 12, damage: poison },
  names: { weight: 4, damage: swapNames },
};
const wheel = Object.entries(kinds).flatMap(([name, { weight }]) => new Array<string>(weight).fill(name));

export function damagedModel(bases: readonly Base[], seed: number, number: number): DamagedModel {
  const d = new Dice(seed, `file ${number}`);
  const base = d.pick(bases);
  const files: (Uint8Array | undefined)[] = base.files.map(({ bytes }) => Uint8Array.from(bytes));
  const applied: string[] = [];
  const first = d.pick(wheel);
  const names =
    first === "none" ? [first] : [first, ...(d.one(4) ? [d.pick(wheel)] : []), ...(d.one(16) ? [d.pick(wheel)] : [])];
  for (const name of names) {
    const shard = d.below(files.length);
    // Positions of the layout stay true only while nothing has moved.
    if (files[shard]!.length !== base.files[shard]!.bytes.length) continue;
    files[shard] = kinds[name]!.damage(d, base.files[shard]!, files[shard]!, bases);
    applied.push(name);
  }
  if (files.length > 1 && d.one(8)) {
    const shard = d.below(files.length);
    files[shard] = d.pick([undefined, files[1 - shard], new Uint8Array(0)]);
    applied.push("shards");
  }
  return { what: `${base.name}: ${applied.join(", ")}`, files };
}

/** Ends of the parts of a file: most damage is worth more before the weights. */
function end(d: Dice, file: Layout): number {
  return d.pick([24, file.metadataEnd, file.metadataEnd, file.directoryEnd, file.dataStart, file.bytes.length]);
}

function flip(d: Dice, file: Layout, bytes: Uint8Array): Uint8Array {
  const to = end(d, file);
  times(d, 8, () => {
    bytes[d.below(to)]! ^= d.one(3) ? d.words() : 1 << d.below(8);
  });
  return bytes;
}

function times(d: Dice, most: number, action: () => void): undefined {
  for (let left = 1 + d.below(most); left > 0; left--) action();
}

function inFields(wanted: (field: Field) => boolean, gentle = false): Damage {
  return (d, file, bytes) => {
    const fields = file.fields.filter(wanted);
    if (fields.length > 0) times(d, 2, () => hostile(d, bytes, d.pick(fields), gentle));
    return bytes;
  };
}

const integers = [0n, 1n, 2n, 3n, 4n, 5n, 8n, 16n, 31n, 32n, 33n, 64n, 127n, 128n, 255n, 256n, 4096n, 65535n, 65536n];
for (const bits of [20n, 24n, 28n, 31n, 32n, 40n, 53n, 61n, 62n, 63n, 64n])
  integers.push(2n ** bits - 1n, 2n ** bits, 2n ** bits - 32n);
const floats = [0, -0, 1e-45, 1e-38, 1e-5, 0.5, 1, -1, 2, 1e4, 1e30, 3.4e38, Infinity, -Infinity, NaN];

/**
 * Writes a value that is wrong, extreme or nearly right. `gentle`: nearly right more often, so that models still run.
 */
function hostile(d: Dice, bytes: Uint8Array, field: Field, gentle = false): void {
  const { at, bytes: width, kind } = field;
  if (kind === "text") {
    if (width > 0) bytes[at + d.below(width)] = d.pick([0, 0x20, 0x41, 0x80, 0xc4, 0xff, d.below(256)]);
    return;
  }
  const view = new DataView(bytes.buffer, at, width);
  if (field.float && d.below(4) > 0) {
    const old = width === 4 ? view.getFloat32(0, true) : view.getFloat64(0, true);
    const value = d.one(2) ? d.pick(floats) : old * d.pick([-1, 2, 0.5, 1e10, 1e-10, 1.01]);
    if (width === 4) view.setFloat32(0, value, true);
    else view.setFloat64(0, value, true);
    return;
  }
  let old = 0n;
  for (let i = width - 1; i >= 0; i--) old = (old << 8n) | BigInt(bytes[at + i]!);
  const near = [old + 1n, old - 1n, old * 2n, old / 2n, old + 32n, old ^ (1n << BigInt(d.below(8 * width)))];
  let value = d.below(gentle ? 3 : 2) > 0 ? d.pick(near) : d.pick(integers);
  if (d.one(10)) value = BigInt(d.words()) * BigInt(d.words());
  for (let i = 0; i < width; i++) bytes[at + i] = Number((value >> BigInt(8 * i)) & 255n);
}

/** Other tensor types; half of the time one whose blocks are as large, so that the file stays well-formed. */
function retype(d: Dice, file: Layout, bytes: Uint8Array): Uint8Array {
  if (file.tensors.length === 0) return bytes;
  times(d, 4, () => {
    const tensor = d.pick(file.tensors);
    const own = dtypes.find(({ id }) => id === tensor.dtypeId)!;
    const alike = dtypes.filter((t) => t.blockBytes * own.blockValues === own.blockBytes * t.blockValues);
    const id = d.one(8) ? d.below(60) : d.pick(d.one(2) ? alike : dtypes).id;
    new DataView(bytes.buffer).setUint32(tensor.typeAt, id, true);
  });
  return bytes;
}

/** Not numbers, infinities, all bits set, noise: in a few blocks or all over a tensor. */
function poison(d: Dice, file: Layout, bytes: Uint8Array): Uint8Array {
  if (file.tensors.length === 0) return bytes;
  const patterns = [
    [0x00, 0x7e],
    [0x00, 0x7c],
    [0x00, 0xfc],
    [0xff],
    [0x00],
    [0x80],
    [0x7f],
    [0x00, 0x00, 0xc0, 0x7f],
    [0xff, 0x7b],
    [0x01, 0x00],
  ];
  times(d, 3, () => {
    const { from, to, dtypeId }: TensorSpan = d.pick(file.tensors);
    const { blockBytes } = dtypes.find(({ id }) => id === dtypeId)!;
    const pattern = d.pick(patterns);
    const blocks = (to - from) / blockBytes;
    const noise = d.one(3);
    const count = d.one(3) ? blocks : 1 + d.below(4);
    for (let b = 0; b < count; b++) {
      const at = from + (count === blocks ? b : d.below(blocks)) * blockBytes;
      // Scales stand at the start of most blocks, at the end of the others.
      const start = d.one(3) ? at + blockBytes - Math.min(blockBytes, 4) : at;
      for (let i = start; i < Math.min(start + 4, at + blockBytes); i++)
        bytes[i] = noise ? d.words() : pattern[(i - start) % pattern.length]!;
    }
  });
  return bytes;
}

/** Two tensors of names of one length change places, or both get one name. */
function swapNames(d: Dice, file: Layout, bytes: Uint8Array): Uint8Array {
  if (file.tensors.length === 0) return bytes;
  const a = d.pick(file.tensors);
  const b = d.pick(file.tensors.filter(({ name }) => name.length === a.name.length));
  const { length } = a.name;
  const copy = bytes.slice(a.nameAt, a.nameAt + length);
  if (d.below(3) > 0) bytes.copyWithin(a.nameAt, b.nameAt, b.nameAt + length);
  bytes.set(copy, b.nameAt);
  return bytes;
}

/** Pieces of another file put over, between or instead of this one's; pieces removed or doubled. */
function splice(d: Dice, file: Layout, bytes: Uint8Array, bases: readonly Base[]): Uint8Array {
  const other = d.pick(d.pick(bases).files);
  const at = d.below(end(d, file));
  const from = d.one(2) ? Math.min(at, other.bytes.length) : d.below(end(d, other));
  const piece = other.bytes.subarray(from, from + d.pick([8, 64, 1000, other.bytes.length]));
  switch (d.below(4)) {
    case 0:
      return joined(bytes.subarray(0, at), piece);
    case 1:
      return joined(bytes.subarray(0, at), piece, bytes.subarray(at));
    case 2:
      return joined(bytes.subarray(0, at), bytes.subarray(at + d.pick([1, 4, 8, 32, 1000])));
    default:
      return joined(bytes.subarray(0, at), piece, bytes.subarray(at + piece.length));
  }
}

export function joined(...parts: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(Buffer.concat(parts));
}
