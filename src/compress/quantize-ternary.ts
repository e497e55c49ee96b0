/** Encoders of Q1_0, Q2_0, TQ1_0, TQ2_0 and NVFP4: ggml's bytes, each step rounded to f32 as it does. */
import { nvfp4Scale } from "../formats/codebooks.js";
import { ternaryDigit } from "../formats/dequantize-ternary.js";
import { toF16, writeU16 } from "../formats/float16.js";
import { type EncodeBlock, nearestFp4 } from "./quantize-32.js";

const { fround, abs, max, min, floor } = Math;

/** To the nearest whole number, halves away from zero as C's round does. */
const roundAway = (v: number): number => (v < 0 ? -floor(0.5 - v) : floor(v + 0.5));

function largest(x: Float32Array, o: number, n: number): number {
  let found = 0;
  for (let i = 0; i < n; i++) found = max(found, abs(x[o + i]!));
  return found;
}

/** The mean magnitude, and a bit for what is not negative. */
export const encodeQ1_0: EncodeBlock = (x, o, b, at) => {
  let sum = 0;
  for (let e = 0; e < 128; e++) sum = fround(sum + abs(x[o + e]!));
  writeU16(b, at, toF16(fround(sum / 128)));
  for (let e = 0; e < 128; e++) if (x[o + e]! >= 0) b[at + 2 + (e >> 3)]! |= 1 << (e & 7);
};

/** Whole multiples -1, 0 and 1 (in Q2_0 also 2, which a largest magnitude of 1 never needs), plus 1. */
function levels(x: Float32Array, o: number, n: number): { readonly d: number; readonly quants: readonly number[] } {
  const d = largest(x, o, n);
  const inverse = d === 0 ? 0 : fround(1 / d);
  return { d, quants: Array.from({ length: n }, (_, e) => min(3, max(0, roundAway(fround(x[o + e]! * inverse)) + 1))) };
}

export const encodeQ2_0: EncodeBlock = (x, o, b, at) => {
  const { d, quants } = levels(x, o, 64);
  writeU16(b, at, toF16(d));
  for (const [e, q] of quants.entries()) b[at + 2 + (e >> 2)]! |= q << (2 * (e & 3));
};

export const encodeTq2_0: EncodeBlock = (x, o, b, at) => {
  const { d, quants } = levels(x, o, 256);
  for (const [e, q] of quants.entries()) b[at + 32 * (e >> 7) + (e & 31)]! |= q << (2 * ((e & 127) >> 5));
  writeU16(b, at + 64, toF16(d));
};

/** Five digits (of the last four bytes four, and a zero) as a whole number, then as a fraction of 256, rounded up. */
export const encodeTq1_0: EncodeBlock = (x, o, b, at) => {
  const { d, quants } = levels(x, o, 256);
  const numbers = new Uint8Array(52);
  for (const [e, q] of quants.entries()) {
    const { byte, digit } = ternaryDigit(e);
    numbers[byte]! += q * 3 ** (4 - digit);
  }
  for (const [i, number] of numbers.entries()) b[at + i] = floor((number * 256 + 242) / 243);
  writeU16(b, at + 52, toF16(d));
};

/** The code of the nearest unsigned E4M3 number; like ggml's, what is subnormal stays so. */
function toUe4m3(v: number): number {
  if (v < 2 ** -6) return min(7, floor(v * 512 + 0.5));
  let best = 0;
  for (let code = 1; code < 127; code++) if (abs(2 * nvfp4Scale(code) - v) < abs(2 * nvfp4Scale(best) - v)) best = code;
  return best;
}

export const encodeNvfp4: EncodeBlock = (x, o, b, at) => {
  for (let s = 0; s < 4; s++) {
    const code = toUe4m3(fround(largest(x, o + 16 * s, 16) / 6));
    const d = nvfp4Scale(code);
    b[at + s] = code;
    for (let i = 0; i < 8; i++) {
      const [low, high] = [x[o + 16 * s + i]!, x[o + 16 * s + 8 + i]!];
      b[at + 4 + 8 * s + i] = nearestFp4(low, d) | (nearestFp4(high, d) << 4);
    }
  }
};
