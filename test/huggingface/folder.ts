/** Writes the folders that the fixtures of transformers describe (scripts/fixtures/huggingface.py). */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { packageRoot } from "../../src/package-root.js";

export interface Fixture {
  readonly made: string;
  readonly config: Readonly<Record<string, unknown>>;
  /** [name, shape, mean, scale]: how its values are made. */
  readonly tensors: readonly (readonly [string, readonly number[], number, number])[];
  readonly ids: readonly number[];
  readonly kind: "logits" | "hidden";
  /** Rows of the last positions. */
  readonly rows: readonly [count: number, width: number];
  /** Base64 of f32. */
  readonly values: string;
  /** The same with a cache of keys and values that holds F16. */
  readonly rounded: string;
}

const folder = join(packageRoot(), "test", "huggingface", "models");

export const fixtureNames = (): string[] =>
  readdirSync(folder)
    .filter((name) => name.endsWith(".json"))
    .map((name) => name.slice(0, -".json".length));

export const readFixture = (name: string): Fixture =>
  JSON.parse(readFileSync(join(folder, `${name}.json`), "utf8")) as Fixture;

/** The rows of a fixture. @shape [rows][width] */
export function expectedRows(fixture: Fixture, which: "values" | "rounded"): Float32Array[] {
  const [count, width] = fixture.rows;
  const bytes = Buffer.from(fixture[which], "base64");
  const all = new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
  return Array.from({ length: count }, (_, i) => all.slice(i * width, (i + 1) * width));
}

/** mean + scale * u, u in [-1, 1) by a hash of the name and the place: the twin of `values` in the script. */
export function valuesOf(name: string, count: number, mean: number, scale: number): Float32Array {
  let seed = 0x811c9dc5;
  for (const byte of Buffer.from(name)) seed = Math.imul(seed ^ byte, 0x01000193);
  const out = new Float32Array(count);
  for (let i = 0; i < count; i++) {
    let x = (Math.imul(i, 0x9e3779b1) + seed) | 0;
    x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
    x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
    x ^= x >>> 16;
    out[i] = mean + scale * ((x >>> 0) / 2 ** 31 - 1);
  }
  return out;
}

export type Stored = "F32" | "F16" | "BF16";

export interface Entry {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

/** One safetensors file. */
export function safetensorsBytes(entries: readonly Entry[]): Buffer {
  const header: Record<string, unknown> = { __metadata__: { format: "pt" } };
  let at = 0;
  for (const { name, dtype, shape, bytes } of entries) {
    header[name] = { dtype, shape, data_offsets: [at, at + bytes.length] };
    at += bytes.length;
  }
  const text = Buffer.from(JSON.stringify(header));
  const padded = Buffer.concat([text, Buffer.alloc((8 - (text.length % 8)) % 8, 0x20)]);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(padded.length));
  return Buffer.concat([length, padded, ...entries.map(({ bytes }) => bytes)]);
}

/** Values as they are stored; BF16 rounds to nearest even. */
export function storedBytes(values: Float32Array, dtype: Stored): Uint8Array {
  if (dtype === "F32") return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const out = new Uint16Array(values.length);
  if (dtype === "BF16")
    for (let i = 0; i < out.length; i++) out[i] = (bits[i]! + 0x7fff + ((bits[i]! >>> 16) & 1)) >>> 16;
  else for (let i = 0; i < out.length; i++) out[i] = halfBits(values[i]!);
  return new Uint8Array(out.buffer);
}

function halfBits(value: number): number {
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const size = Math.abs(value);
  if (size < 2 ** -14) return sign | Math.round(size / 2 ** -24);
  const exponent = Math.floor(Math.log2(size));
  const mantissa = roundHalfEven((size / 2 ** exponent - 1) * 1024);
  return sign | ((exponent + 15) * 1024 + mantissa);
}

function roundHalfEven(value: number): number {
  const down = Math.floor(value);
  const rest = value - down;
  return rest > 0.5 || (rest === 0.5 && down % 2 === 1) ? down + 1 : down;
}

export function entriesOf({ tensors }: Fixture, dtype: Stored = "F32"): Entry[] {
  return tensors.map(([name, shape, mean, scale]) => {
    const count = shape.reduce((product, size) => product * size, 1);
    return { name, dtype, shape, bytes: storedBytes(valuesOf(name, count, mean, scale), dtype) };
  });
}

/** A folder with config.json and the weights, in so many files. */
export function writeFolder(at: string, fixture: Fixture, dtype: Stored = "F32", shards = 1): string {
  mkdirSync(at, { recursive: true });
  writeFileSync(join(at, "config.json"), JSON.stringify(fixture.config, null, 2));
  const entries = entriesOf(fixture, dtype);
  if (shards === 1) {
    writeFileSync(join(at, "model.safetensors"), safetensorsBytes(entries));
    return at;
  }
  const map: Record<string, string> = {};
  for (let s = 0; s < shards; s++) {
    const own = entries.filter((_, i) => i % shards === s);
    const name = `model-${String(s + 1).padStart(5, "0")}-of-${String(shards).padStart(5, "0")}.safetensors`;
    for (const entry of own) map[entry.name] = name;
    writeFileSync(join(at, name), safetensorsBytes(own));
  }
  writeFileSync(join(at, "model.safetensors.index.json"), JSON.stringify({ metadata: {}, weight_map: map }));
  return at;
}
