/** The KV cache of the reference: pages of 256 positions in the real storage types, made on first touch. */
import { HundredweightError } from "../errors.js";
import { f16Table, roundHalfEven, toF16 } from "../formats/float16.js";
import { isMixed, kvForm } from "./kv-form.js";
import { type KeyTurn, type KvLayer, type KvPool, type KvPoolSpec, type KvType, pagePositions } from "./ops.js";

/** The storage types of the engine, and one that loses nothing: what other engines are held to. */
export type StoredType = KvType | "f32";

/** Bytes of one value row of a head; quantized types hold 32 values a block behind an f16 scale. */
function headBytes(type: StoredType, values: number): number {
  if (type === "f32") return values * 4;
  if (type === "f16") return values * 2;
  if (values % 32 !== 0)
    throw new HundredweightError("OPTION_INVALID", `KV type ${type} needs a head size of whole 32s, this is ${values}`);
  return (values / 32) * (type === "q8_0" ? 34 : 18);
}

/** One head row into the storage type.  @source the Q8_0 and Q4_0 layouts of docs/formats.md */
export function encodeHead(
  type: StoredType,
  x: Float32Array,
  offset: number,
  values: number,
  out: DataView,
  at: number,
) {
  if (type === "f32") {
    for (let i = 0; i < values; i++) out.setFloat32(at + 4 * i, x[offset + i]!, true);
    return;
  }
  if (type === "f16") {
    for (let i = 0; i < values; i++) out.setUint16(at + 2 * i, toF16(x[offset + i]!), true);
    return;
  }
  for (let block = 0; block < values; block += 32, at += type === "q8_0" ? 34 : 18) {
    let largest = 0; // signed value of largest magnitude, the first one
    for (let i = 0; i < 32; i++) {
      const v = x[offset + block + i]!;
      if (Math.abs(v) > Math.abs(largest)) largest = v;
    }
    const d = Math.fround(type === "q8_0" ? Math.abs(largest) / 127 : largest / -8);
    const inverse = d === 0 ? 0 : Math.fround(1 / d);
    out.setUint16(at, toF16(d), true);
    if (type === "q8_0")
      for (let i = 0; i < 32; i++) out.setInt8(at + 2 + i, roundHalfEven(x[offset + block + i]! * inverse));
    else
      for (let i = 0; i < 16; i++) {
        const low = Math.min(15, Math.floor(x[offset + block + i]! * inverse + 8.5));
        const high = Math.min(15, Math.floor(x[offset + block + 16 + i]! * inverse + 8.5));
        out.setUint8(at + 2 + i, low | (high << 4));
      }
  }
}

export function decodeHead(type: StoredType, bytes: DataView, at: number, values: number, out: Float32Array) {
  if (type === "f32") {
    for (let i = 0; i < values; i++) out[i] = bytes.getFloat32(at + 4 * i, true);
    return;
  }
  if (type === "f16") {
    const halves = f16Table();
    for (let i = 0; i < values; i++) out[i] = halves[bytes.getUint16(at + 2 * i, true)]!;
    return;
  }
  for (let block = 0; block < values; block += 32, at += type === "q8_0" ? 34 : 18) {
    const d = f16Table()[bytes.getUint16(at, true)]!;
    if (type === "q8_0") for (let i = 0; i < 32; i++) out[block + i] = d * bytes.getInt8(at + 2 + i);
    else
      for (let i = 0; i < 16; i++) {
        const byte = bytes.getUint8(at + 2 + i);
        out[block + i] = d * ((byte & 15) - 8);
        out[block + 16 + i] = d * ((byte >> 4) - 8);
      }
  }
}

interface LayerLayout extends KvLayer {
  /** Its heads go through Hadamard matrices. */
  readonly mixed: boolean;
  /** Offsets in a page of the layer's keys and values: [kvHeads][256][head row]. */
  readonly keys: number;
  readonly values: number;
  readonly keyBytes: number;
  readonly valueBytes: number;
}

export class ReferenceKvPool implements KvPool {
  readonly id: number;
  readonly pages: number;
  readonly layers: number;
  readonly pageBytes: number;
  readonly keyType: StoredType;
  readonly valueType: StoredType;
  readonly every: number;
  readonly layout: readonly LayerLayout[];
  readonly #pages: (DataView | undefined)[];

  /** @param kept how it is stored instead of as the specification says: as nothing but numbers */
  constructor(id: number, spec: KvPoolSpec, kept?: StoredType) {
    const form = kvForm(spec.type);
    this.id = id;
    this.pages = spec.pages;
    this.layers = spec.layers.length;
    this.keyType = kept ?? form.keys;
    this.valueType = kept ?? form.values;
    this.every = spec.every ?? 1;
    let offset = 0;
    this.layout = spec.layers.map((layer) => {
      const { kvHeads, headDimK, headDimV, latent = false } = layer;
      const keyBytes = headBytes(this.keyType, headDimK);
      // Values of a latent layer are read where its keys lie.
      const valueBytes = latent ? keyBytes : headBytes(this.valueType, headDimV);
      const keys = offset;
      const after = keys + kvHeads * pagePositions * keyBytes;
      const values = latent ? keys : after;
      offset = latent ? after : values + kvHeads * pagePositions * valueBytes;
      const mixed = kept === undefined && isMixed(form, layer);
      return { kvHeads, headDimK, headDimV, latent, mixed, keys, values, keyBytes, valueBytes };
    });
    this.pageBytes = offset;
    this.#pages = new Array(spec.pages);
  }

  /** The type of a layer's keys, or of its values. */
  typeOf(layer: LayerLayout, what: "keys" | "values"): StoredType {
    return what === "keys" || layer.latent ? this.keyType : this.valueType;
  }

  page(index: number): DataView {
    if (!(index >= 0 && index < this.pages))
      throw new HundredweightError("INTERNAL", `KV page ${index} of ${this.pages}: a position that is not in memory`);
    this.#pages[index] ??= new DataView(new ArrayBuffer(this.pageBytes));
    return this.#pages[index];
  }

  copyPage(from: number, to: number): void {
    new Uint8Array(this.page(to).buffer).set(new Uint8Array(this.page(from).buffer));
  }

  copyRows(from: number, to: number, rows: number): void {
    const [source, target] = [from, to].map((page) => new Uint8Array(this.page(page).buffer)) as [
      Uint8Array,
      Uint8Array,
    ];
    for (const { kvHeads, keys, values, keyBytes, valueBytes } of this.layout)
      for (const [start, bytes] of [[keys, keyBytes] as const, [values, valueBytes] as const])
        for (let h = 0; h < kvHeads; h++) {
          const at = start + h * pagePositions * bytes;
          target.set(source.subarray(at, at + rows * bytes), at);
        }
  }
}

/** Keys of a page of a layer go to other positions: turned in double, and stored once more. */
export function turnKeys(
  pool: ReferenceKvPool,
  layer: number,
  page: number,
  [from, to]: readonly [number, number],
  turn: KeyTurn,
): void {
  const { kvHeads, headDimK, keys, keyBytes } = pool.layout[layer]!;
  const { cosines, sines, interleaved, first } = turn;
  const [bytes, pairs] = [pool.page(page), cosines.length];
  const key = new Float32Array(headDimK);
  for (let row = 0; row < kvHeads * pagePositions; row++) {
    if (row % pagePositions < from || row % pagePositions >= to) continue;
    decodeHead(pool.keyType, bytes, keys + row * keyBytes, headDimK, key);
    for (let i = 0; i < pairs; i++) {
      const a = first + (interleaved ? 2 * i : i);
      const b = interleaved ? a + 1 : a + pairs;
      const [xa, xb] = [key[a]!, key[b]!];
      key[a] = xa * cosines[i]! - xb * sines[i]!;
      key[b] = xa * sines[i]! + xb * cosines[i]!;
    }
    encodeHead(pool.keyType, key, 0, headDimK, bytes, keys + row * keyBytes);
  }
}
