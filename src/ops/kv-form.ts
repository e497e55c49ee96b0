/** How a KV cache is stored, as one word: `q8_0`, `q8_0:q4_0` (keys:values), `q4_0+h` (through a Hadamard matrix). */
import { HundredweightError } from "../errors.js";
import { type KvType, kvTypes } from "../native/boundary.js";

export type KvPair = KvType | `${KvType}:${KvType}`;
export type KvCacheType = KvPair | `${KvPair}+h`;

export interface KvForm {
  readonly keys: KvType;
  /** The type of values; of latent layers, whose values are part of their keys, that of the keys counts. */
  readonly values: KvType;
  /** Whether heads go through a normalised Hadamard matrix: keys, values, queries, and what attention gives back. */
  readonly hadamard: boolean;
}

/** One word for each form: what is the same is written in one way, since names of pasts and sessions follow from it. */
export function kvCacheType({ keys, values, hadamard }: KvForm): KvCacheType {
  const pair: KvPair = keys === values ? keys : `${keys}:${values}`;
  return hadamard ? `${pair}+h` : pair;
}

/** @throws OPTION_INVALID */
export function kvForm(type: string): KvForm {
  const [, keys, values = keys, suffix] = /^([^:+]+)(?::([^:+]+))?(\+h)?$/.exec(type) ?? [];
  if (isKvType(keys) && isKvType(values)) return { keys, values, hadamard: suffix !== undefined };
  throw new HundredweightError(
    "OPTION_INVALID",
    `'${type.slice(0, 40)}' is no type of a KV cache: one of ${kvTypes.join(", ")}, two of them as keys:values, ` +
      "and '+h' behind for the Hadamard matrix",
  );
}

const isKvType = (word: string | undefined): word is KvType => kvTypes.some((type) => type === word);

/** Every form that is written apart. */
export const kvCacheTypes: readonly KvCacheType[] = [false, true].flatMap((hadamard) =>
  kvTypes.flatMap((keys) => kvTypes.map((values) => kvCacheType({ keys, values, hadamard }))),
);

/** A layer of a KV cache, as far as its form goes. */
interface KvHeads {
  readonly kvHeads: number;
  readonly headDimK: number;
  readonly headDimV: number;
  readonly latent?: boolean;
}

/** Whether a layer goes through Hadamard matrices: rows that attention does not read stay as they are. */
export const isMixed = (form: KvForm, { headDimV }: KvHeads): boolean => form.hadamard && headDimV > 0;

/**
 * Lengths of the vectors that Hadamard matrices multiply: of a key and of a value; of a latent layer the values are the
 * first of the key and mixed among themselves.
 */
export function hadamardLengths({ headDimK, headDimV, latent = false }: KvHeads): readonly number[] {
  if (!latent) return [headDimK, headDimV];
  return headDimV === headDimK ? [headDimV] : [headDimV, headDimK - headDimV];
}

const isPowerOfTwo = (n: number): boolean => n > 0 && Number.isInteger(Math.log2(n));

/** Bytes of one position of one head of a type.  @throws OPTION_INVALID when it needs whole blocks of 32 */
export function kvHeadBytes(type: KvType, values: number): number {
  if (type === "f16") return 2 * values;
  if (values % 32 !== 0)
    throw new HundredweightError(
      "OPTION_INVALID",
      `this model's heads of ${values} values do not fit a quantized KV cache (multiples of 32): use f16`,
    );
  return (values / 32) * (type === "q8_0" ? 34 : 18);
}

/** Bytes of one position of a layer.  @throws OPTION_INVALID where the heads do not fit the form */
export function kvPositionBytes(type: KvCacheType, layer: KvHeads): number {
  const form = kvForm(type);
  const { kvHeads, headDimK, headDimV, latent = false } = layer;
  if (isMixed(form, layer) && !hadamardLengths(layer).every(isPowerOfTwo))
    throw new HundredweightError(
      "OPTION_INVALID",
      `this model's heads of ${headDimK} and ${headDimV} values have no Hadamard matrix (powers of two): ` +
        "leave out '+h'",
    );
  // The values of a latent layer have to be whole blocks of its keys.
  const values = kvHeadBytes(latent ? form.keys : form.values, headDimV);
  return kvHeads * (kvHeadBytes(form.keys, headDimK) + (latent ? 0 : values));
}

/**
 * x = H x / sqrt(n) of the values [first, first + n), n a power of two or 0; H is Sylvester's, its own inverse. In f32
 * these are the bits of native/kernels/hadamard.h.
 */
export function hadamard(x: Float32Array | Float64Array, first: number, n: number): void {
  for (let half = 1; half < n; half *= 2)
    for (let i = first; i < first + n; i += 2 * half)
      for (let j = i; j < i + half; j++) {
        const [a, b] = [x[j]!, x[j + half]!];
        x[j] = a + b;
        x[j + half] = a - b;
      }
  const scale = Math.fround(1 / Math.sqrt(n));
  for (let i = first; i < first + n; i++) x[i] = x[i]! * scale;
}

/** The same of a key, or of a head of a query: of a latent layer in its two parts. */
export function mixKey(x: Float32Array | Float64Array, layer: KvHeads): void {
  let first = 0;
  for (const length of layer.latent ? hadamardLengths(layer) : [layer.headDimK]) {
    hadamard(x, first, length);
    first += length;
  }
}
