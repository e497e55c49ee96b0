/**
 * Random quantized blocks without quantizing anything: all bits are random, then the scales are written so that the
 * decoded values have mean 0 and the standard deviation asked for. Values of a block are uniform over the type's levels
 * (the codebook's for IQ4 and MXFP4), F16 BF16 F32 are normal. No NaN, no infinity: every exponent field is chosen.
 *
 * Scales vary by +-25 % from block to block as fitted ones do. Types without an offset have their levels off centre by
 * half a step (-8..7), which the random sign of the scale makes up for; the others get the offset that centres them.
 */
import { HundredweightError } from "../errors.js";
import { e2m1Values, gridOf, iq4Values, nvfp4Scale } from "../formats/codebooks.js";
import { f16Table, toBf16, toF16, writeU16 } from "../formats/float16.js";
import type { Dtype } from "../formats/index.js";
import { type Fill, randomValue } from "../models/flow/tensors.js";
import { seededNormals, seededWords } from "./random.js";

/** Writes the scale fields of the random block at `b[at]`. */
type WriteScales = (b: Uint8Array, at: number, d: number, words: () => number) => void;

interface Recipe {
  /** Standard deviation of the values when d is 1. */
  readonly unit: number;
  readonly write: WriteScales;
}

/** Mean square of the whole numbers low..high. */
const meanSquare = (low: number, high: number): number => {
  let sum = 0;
  for (let k = low; k <= high; k++) sum += k * k;
  return sum / (high - low + 1);
};
const meanSquareOf = (values: Int8Array): number => values.reduce((sum, v) => sum + v * v, 0) / values.length;
/** Deviation of n levels around their own mean. */
const centred = (n: number) => Math.sqrt((n * n - 1) / 12);

const putHalf = (b: Uint8Array, at: number, value: number): number => {
  const bits = toF16(value);
  writeU16(b, at, bits);
  return f16Table()[bits]!;
};
const signed = (d: number, words: () => number) => (words() & 1 ? d : -d);

/** d alone at `at + offset`, its sign random. */
const symmetric = (unit: number, offset: number): Recipe => ({
  unit,
  write: (b, at, d, words) => {
    putHalf(b, at + offset, signed(d, words));
  },
});

/** d and the smallest value, for levels 0..n-1. */
const offset32 = (levels: number): Recipe => ({
  unit: centred(levels),
  write: (b, at, d) => {
    const scale = putHalf(b, at, d);
    putHalf(b, at + 2, (-(levels - 1) / 2) * scale);
  },
});

/** Sub-scales of 6 bits, 16..63; a min equal to the scale and dmin = half the levels times d centre every group. */
const offset256 = (levels: number): Recipe => ({
  unit: centred(levels) * Math.sqrt(meanSquare(16, 63)),
  write: (b, at, d, words) => {
    const scale = putHalf(b, at, d);
    putHalf(b, at + 2, ((levels - 1) / 2) * scale);
    const s = at + 4;
    for (let j = 0; j < 4; j++) {
      const low = 16 + (words() % 48);
      const high = 16 + (words() % 48);
      const upper = (high >> 4) << 6;
      b[s + j] = low | upper;
      b[s + j + 4] = low | upper;
      b[s + j + 8] = (high & 15) | ((high & 15) << 4);
    }
  },
});

const rmsOf = (grid: Parameters<typeof gridOf>[0]) => Math.sqrt(meanSquareOf(gridOf(grid)));
/** Root of the mean square of 1, 3, 5, ...: `count` of them. */
const oddScales = (count: number) => Math.sqrt((4 * count * count - 1) / 3);

const recipes: Readonly<Record<string, Recipe>> = {
  Q4_0: symmetric(Math.sqrt(meanSquare(-8, 7)), 0),
  Q5_0: symmetric(Math.sqrt(meanSquare(-16, 15)), 0),
  IQ4_NL: symmetric(Math.sqrt(meanSquareOf(iq4Values)), 0),
  Q4_1: offset32(16),
  Q5_1: offset32(32),
  Q4_K: offset256(16),
  Q5_K: offset256(32),
  Q8_0: {
    unit: Math.sqrt(meanSquare(-127, 127)),
    write(b, at, d) {
      putHalf(b, at, d);
      // No quantizer makes -128, and kernels may count on that.
      for (let i = at + 2; i < at + 34; i++) if (b[i] === 128) b[i] = 127;
    },
  },
  // Sub-scales 8..15, mins equal to them.
  Q2_K: {
    unit: centred(4) * Math.sqrt(meanSquare(8, 15)),
    write(b, at, d, words) {
      for (let i = 0; i < 16; i++) b[at + i] = (8 + (words() & 7)) * 0x11;
      const scale = putHalf(b, at + 80, d);
      putHalf(b, at + 82, 1.5 * scale);
    },
  },
  // The 6-bit sub-scales of these two are random like the rest: -32..31, so they carry the sign.
  Q3_K: {
    unit: Math.sqrt(meanSquare(-4, 3) * meanSquare(-32, 31)),
    write: (b, at, d) => {
      putHalf(b, at + 108, d);
    },
  },
  IQ4_XS: {
    unit: Math.sqrt(meanSquareOf(iq4Values) * meanSquare(-32, 31)),
    write: (b, at, d) => {
      putHalf(b, at, d);
    },
  },
  // Sub-scales +-16..63: of 8 bits, but small weights would leave d next to nothing.
  Q6_K: {
    unit: Math.sqrt(meanSquare(-32, 31) * meanSquare(16, 63)),
    write(b, at, d, words) {
      for (let i = 0; i < 16; i++) b[at + 192 + i] = signed(16 + (words() % 48), words);
      putHalf(b, at + 208, d);
    },
  },
  // Their 3- and 4-bit sub-scales are random: 2 s + 1. All signs are, so only the mean square of the book counts.
  IQ2_XXS: symmetric((rmsOf("iq2xxs") / 8) * oddScales(16), 0),
  IQ2_XS: symmetric((rmsOf("iq2xs") / 8) * oddScales(16), 0),
  IQ2_S: symmetric((rmsOf("iq2s") / 8) * oddScales(16), 0),
  IQ3_XXS: symmetric((rmsOf("iq3xxs") / 4) * oddScales(16), 0),
  IQ3_S: symmetric(rmsOf("iq3s") * oddScales(16), 0),
  IQ1_S: symmetric(Math.hypot(rmsOf("iq1"), 0.125) * oddScales(8), 0),
  IQ1_M: {
    unit: Math.hypot(rmsOf("iq1"), 0.125) * oddScales(8),
    write(b, at, d, words) {
      const bits = toF16(signed(d, words));
      for (let i = 0; i < 4; i++) b[at + 49 + 2 * i] = (b[at + 49 + 2 * i]! & 15) | (((bits >> (4 * i)) & 15) << 4);
    },
  },
  Q1_0: symmetric(1, 0),
  Q2_0: symmetric(Math.sqrt(meanSquare(-1, 2)), 0),
  TQ2_0: symmetric(Math.sqrt(meanSquare(-1, 2)), 64),
  TQ1_0: symmetric(Math.sqrt(2 / 3), 52),
  // Four scales of four significant bits: as with MXFP4 the two around d are mixed.
  NVFP4: {
    unit: Math.sqrt(meanSquareOf(e2m1Values)),
    write(b, at, d, words) {
      let code = 0;
      while (code < 125 && nvfp4Scale(code + 1) < d) code++;
      const [low, high] = [nvfp4Scale(code) ** 2, nvfp4Scale(code + 1) ** 2];
      for (let s = 0; s < 4; s++) b[at + s] = code + (words() / 2 ** 32 < (d * d - low) / (high - low) ? 1 : 0);
    },
  },
  // Only powers of two: the two around d are mixed so that the mean square is right.
  MXFP4: {
    unit: Math.sqrt(meanSquareOf(e2m1Values)),
    write(b, at, d, words) {
      const exponent = Math.floor(Math.log2(d));
      const share = ((d / 2 ** exponent) ** 2 - 1) / 3;
      const e = exponent + 128 + (words() / 2 ** 32 < share ? 1 : 0);
      b[at] = Math.max(0, Math.min(254, e));
    },
  },
};

/** RMS of the factor 0.75 .. 1.25 that varies the scales. */
const spread = Math.sqrt(1 + 0.25 / 12);

/**
 * At most `bytes` of random blocks, whole ones.
 * @throws OPTION_INVALID for a type without kernels
 */
export function randomBlocks(dtype: Dtype, bytes: number, mean: number, deviation: number, seed: number): Uint8Array {
  const count = Math.floor(bytes / dtype.blockBytes);
  const out = new Uint8Array(count * dtype.blockBytes);
  if (dtype.blockValues === 1) {
    fillNormal(dtype, out, 0, { mean, deviation }, seed);
    return out;
  }
  const recipe = recipes[dtype.name];
  if (recipe === undefined)
    throw new HundredweightError("OPTION_INVALID", `random tensors of type ${dtype.name} are not supported`);
  if (mean !== 0) throw new HundredweightError("INTERNAL", `random ${dtype.name} blocks have mean 0`);
  const words = seededWords(seed, `${dtype.name} ${deviation}`);
  fillWords(out, words);
  const d = deviation / (recipe.unit * spread);
  for (let at = 0; at < out.length; at += dtype.blockBytes)
    recipe.write(out, at, d * (0.75 + words() / 2 ** 33), words);
  return out;
}

/** Random bits, 32 at a time. */
function fillWords(out: Uint8Array, words: () => number): void {
  const whole = new Uint32Array(out.buffer, 0, out.length >> 2);
  for (let i = 0; i < whole.length; i++) whole[i] = words();
  for (let i = whole.length * 4; i < out.length; i++) out[i] = words();
}

/**
 * Values `first` and following of what `randomBlocks` makes of a float type: any part of them without the others.
 * @shape out whole values
 */
export function fillNormal(dtype: Dtype, out: Uint8Array, first: number, fill: Fill, seed: number): void {
  const next = seededNormals(seed, `${dtype.name} ${fill.mean} ${fill.deviation}`, first);
  const view = new DataView(out.buffer, out.byteOffset);
  for (let at = 0; at < out.length; at += dtype.blockBytes) {
    const value = randomValue(fill, next());
    if (dtype.name === "F32") view.setFloat32(at, value, true);
    else writeU16(out, at, dtype.name === "F16" ? toF16(value) : toBf16(value));
  }
}
