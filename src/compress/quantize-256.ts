/**
 * Encoders of the types with super-blocks of 256 values: sub-block scales are fitted, rounded against the largest of
 * the super-block, and the values are rounded with the scales as they will be decoded.
 */
import { f16Table, toF16, writeU16 } from "../formats/float16.js";
import type { EncodeBlock } from "./quantize-32.js";
import { fitIq4, fitSymmetric, fitWithMinimum, packIq4 } from "./quantize-fit.js";

const { abs, max, min, round } = Math;
const decoded = (bits: number) => f16Table()[bits]!;
const clamp = (v: number, low: number, high: number) => max(low, min(high, v));
/** Rounded v / d; 0 where the scale is 0 and every quant decodes to the same. */
const over = (v: number, d: number) => (d === 0 ? 0 : round(v / d));

interface WithMinimums {
  /** Bits of the super-block's scale and minimum scale. */
  readonly d: number;
  readonly dmin: number;
  readonly scales: readonly number[];
  readonly minimums: readonly number[];
  readonly quants: Uint8Array;
}

/** Q2_K, Q4_K, Q5_K before packing: `n` values a sub-block, quants 0..top, scales and minimums 0..scaleTop. */
function withMinimums(x: Float32Array, o: number, n: number, top: number, scaleTop: number): WithMinimums {
  const fits = Array.from({ length: 256 / n }, (_, s) => fitWithMinimum(x, o + s * n, n, top));
  const d = toF16(max(...fits.map((f) => f.scale)) / scaleTop);
  const dmin = toF16(max(...fits.map((f) => f.minimum)) / scaleTop);
  const scales = fits.map((f) => clamp(over(f.scale, decoded(d)), 0, scaleTop));
  const minimums = fits.map((f) => clamp(over(f.minimum, decoded(dmin)), 0, scaleTop));
  const quants = Uint8Array.from({ length: 256 }, (_, e) => {
    const s = Math.floor(e / n);
    return clamp(over(x[o + e]! + decoded(dmin) * minimums[s]!, decoded(d) * scales[s]!), 0, top);
  });
  return { d, dmin, scales, minimums, quants };
}

export const encodeQ2K: EncodeBlock = (x, o, b, at) => {
  const { d, dmin, scales, minimums, quants } = withMinimums(x, o, 16, 3, 15);
  for (let s = 0; s < 16; s++) b[at + s] = scales[s]! | (minimums[s]! << 4);
  packPlanes(quants, b, at + 16);
  writeU16(b, at + 80, d);
  writeU16(b, at + 82, dmin);
};

/** Two bits of each value: byte 32h + l takes values 128h + l, + 32, + 64, + 96. */
function packPlanes(quants: Uint8Array, b: Uint8Array, qs: number): void {
  for (let e = 0; e < 256; e++) b[qs + 32 * (e >> 7) + (e & 31)]! |= (quants[e]! & 3) << (2 * ((e & 127) >> 5));
}

/** The 12 bytes of eight 6-bit scales and minimums. */
function packScales(scales: readonly number[], minimums: readonly number[], b: Uint8Array, s: number): void {
  for (let j = 0; j < 4; j++) {
    b[s + j] = scales[j]! | ((scales[j + 4]! >> 4) << 6);
    b[s + 4 + j] = minimums[j]! | ((minimums[j + 4]! >> 4) << 6);
    b[s + 8 + j] = (scales[j + 4]! & 15) | ((minimums[j + 4]! & 15) << 4);
  }
}

/** Low nibbles: group 2k in the low, group 2k + 1 in the high half of 32 bytes. */
function packNibbles(quants: Uint8Array, b: Uint8Array, qs: number): void {
  for (let e = 0; e < 256; e++) b[qs + 32 * (e >> 6) + (e & 31)]! |= (quants[e]! & 15) << (4 * ((e >> 5) & 1));
}

export const encodeQ4K: EncodeBlock = (x, o, b, at) => {
  const { d, dmin, scales, minimums, quants } = withMinimums(x, o, 32, 15, 63);
  writeU16(b, at, d);
  writeU16(b, at + 2, dmin);
  packScales(scales, minimums, b, at + 4);
  packNibbles(quants, b, at + 16);
};

export const encodeQ5K: EncodeBlock = (x, o, b, at) => {
  const { d, dmin, scales, minimums, quants } = withMinimums(x, o, 32, 31, 63);
  writeU16(b, at, d);
  writeU16(b, at + 2, dmin);
  packScales(scales, minimums, b, at + 4);
  for (let e = 0; e < 256; e++) b[at + 16 + (e & 31)]! |= (quants[e]! >> 4) << (e >> 5);
  packNibbles(quants, b, at + 48);
};

/**
 * The super-block scale that puts the sub-block scale of largest magnitude at -`half`, and all scales rounded by it.
 */
function roundScales(fits: readonly number[], half: number): { d: number; scales: number[] } {
  const peak = fits.reduce((found, f) => (abs(f) > abs(found) ? f : found), 0);
  const d = toF16(peak / -half);
  return { d, scales: fits.map((f) => clamp(over(f, decoded(d)), -half, half - 1)) };
}

export const encodeQ3K: EncodeBlock = (x, o, b, at) => {
  const { d, scales } = roundScales(
    Array.from({ length: 16 }, (_, s) => fitSymmetric(x, o + 16 * s, 16, 4)),
    32,
  );
  const quants = new Uint8Array(256);
  for (let e = 0; e < 256; e++) {
    quants[e] = clamp(over(x[o + e]!, decoded(d) * scales[e >> 4]!), -4, 3) + 4;
    b[at + (e & 31)]! |= (quants[e]! >> 2) << (e >> 5); // set: nothing to subtract
  }
  packPlanes(quants, b, at + 32);
  for (let k = 0; k < 16; k++) {
    const scale = scales[k]! + 32;
    b[at + 96 + (k & 7)]! |= (scale & 15) << (k < 8 ? 0 : 4);
    b[at + 104 + (k & 3)]! |= (scale >> 4) << (2 * (k >> 2));
  }
  writeU16(b, at + 108, d);
};

export const encodeQ6K: EncodeBlock = (x, o, b, at) => {
  const { d, scales } = roundScales(
    Array.from({ length: 16 }, (_, s) => fitSymmetric(x, o + 16 * s, 16, 32)),
    128,
  );
  for (let e = 0; e < 256; e++) {
    const q = clamp(over(x[o + e]!, decoded(d) * scales[e >> 4]!), -32, 31) + 32;
    const h = e >> 7;
    const j = (e & 127) >> 5;
    b[at + 64 * h + 32 * (j & 1) + (e & 31)]! |= (q & 15) << (j < 2 ? 0 : 4);
    b[at + 128 + 32 * h + (e & 31)]! |= (q >> 4) << (2 * j);
  }
  for (let s = 0; s < 16; s++) b[at + 192 + s] = scales[s]!;
  writeU16(b, at + 208, d);
};

export const encodeIq4Xs: EncodeBlock = (x, o, b, at) => {
  const { d, scales } = roundScales(
    Array.from({ length: 8 }, (_, g) => fitIq4(x, o + 32 * g, 32)),
    32,
  );
  writeU16(b, at, d);
  let high = 0;
  for (let g = 0; g < 8; g++) {
    const scale = scales[g]! + 32;
    b[at + 4 + (g >> 1)]! |= (scale & 15) << (4 * (g & 1));
    high |= (scale >> 4) << (2 * g);
    packIq4(x, o + 32 * g, b, at + 8 + 16 * g, decoded(d) * scales[g]!);
  }
  writeU16(b, at + 2, high);
};
