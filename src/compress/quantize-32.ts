/**
 * Encoders of the types with blocks of 32 values. Those that ggml defines exactly (Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 MXFP4)
 * round every step to f32 as it does, so the bytes are equal: the reciprocal of the unrounded scale is what values
 * meet.
 */
import { e2m1Values, mxfp4Scale } from "../formats/codebooks.js";
import { f16Table, toF16, writeU16 } from "../formats/float16.js";
import { fitIq4, packIq4 } from "./quantize-fit.js";

/** Encodes `x[o..]` to the block at `b[at]`, which holds zeros. */
export type EncodeBlock = (x: Float32Array, o: number, b: Uint8Array, at: number) => void;

const { fround, abs, min, trunc } = Math;

/** The value of largest magnitude, sign kept; the first of equals. */
function extreme(x: Float32Array, o: number, n: number): number {
  let found = 0;
  for (let i = 0; i < n; i++) if (abs(x[o + i]!) > abs(found)) found = x[o + i]!;
  return found;
}

/** The five-bit quants of a block: nibbles at `qs`, fifth bits (when there are any) at `qh`. */
function pack(b: Uint8Array, qs: number, qh: number, i: number, low: number, high: number): void {
  b[qs + i] = (low & 15) | ((high & 15) << 4);
  b[qh + (i >> 3)]! |= (low >> 4) << (i & 7);
  b[qh + 2 + (i >> 3)]! |= (high >> 4) << (i & 7);
}

/** Q4_0 and Q5_0: the extreme value becomes quant 0, that is -levels/2. */
function encodeSymmetric(half: 8 | 16): EncodeBlock {
  return (x, o, b, at) => {
    const d = fround(extreme(x, o, 32) / -half);
    const inverse = d === 0 ? 0 : fround(1 / d);
    writeU16(b, at, toF16(d));
    const quant = (v: number) => min(2 * half - 1, trunc(fround(fround(v * inverse) + (half + 0.5))));
    for (let i = 0; i < 16; i++) {
      const low = quant(x[o + i]!);
      const high = quant(x[o + 16 + i]!);
      if (half === 8) b[at + 2 + i] = low | (high << 4);
      else pack(b, at + 6, at + 2, i, low, high);
    }
  };
}

/** Q4_1 and Q5_1: smallest value 0, largest value `top`. */
function encodeAsymmetric(top: 15 | 31): EncodeBlock {
  return (x, o, b, at) => {
    let low = x[o]!;
    let high = x[o]!;
    for (let i = 1; i < 32; i++) {
      low = min(low, x[o + i]!);
      high = Math.max(high, x[o + i]!);
    }
    const d = fround(fround(high - low) / top);
    const inverse = d === 0 ? 0 : fround(1 / d);
    writeU16(b, at, toF16(d));
    writeU16(b, at + 2, toF16(low));
    const quant = (v: number) => min(top, trunc(fround(fround(fround(v - low) * inverse) + 0.5)));
    for (let i = 0; i < 16; i++) {
      const q0 = quant(x[o + i]!);
      const q1 = quant(x[o + 16 + i]!);
      if (top === 15) b[at + 4 + i] = q0 | (q1 << 4);
      else pack(b, at + 8, at + 4, i, q0, q1);
    }
  };
}

export const encodeQ4_0 = encodeSymmetric(8);
export const encodeQ5_0 = encodeSymmetric(16);
export const encodeQ4_1 = encodeAsymmetric(15);
export const encodeQ5_1 = encodeAsymmetric(31);

/** Most files that are made are of this type: written out, three times as fast as by the helpers above. */
export const encodeQ8_0: EncodeBlock = (x, o, b, at) => {
  let most = 0;
  for (let i = o; i < o + 32; i++) {
    const v = x[i]!;
    if (v > most) most = v;
    else if (-v > most) most = -v;
  }
  const d = fround(most / 127);
  const inverse = d === 0 ? 0 : fround(1 / d);
  writeU16(b, at, toF16(d));
  for (let i = 0; i < 32; i++) {
    const v = fround(x[o + i]! * inverse);
    b[at + 2 + i] = v < 0 ? (v - 0.5) | 0 : (v + 0.5) | 0; // halves away from zero
  }
};

/** The scale is the power of two that puts the largest magnitude into [4, 8), FP4's last binade and a half. */
export const encodeMxfp4: EncodeBlock = (x, o, b, at) => {
  const largest = abs(extreme(x, o, 32));
  const e = largest === 0 ? 0 : Math.max(0, min(254, floorLog2(largest) - 2 + 127));
  const d = mxfp4Scale(e);
  b[at] = e;
  for (let i = 0; i < 16; i++) {
    b[at + 1 + i] = nearestFp4(x[o + i]!, d) | (nearestFp4(x[o + 16 + i]!, d) << 4);
  }
};

const word = new Float32Array(1);
const bits = new Uint32Array(word.buffer);

function floorLog2(magnitude: number): number {
  word[0] = magnitude;
  return (bits[0]! >>> 23) - 127;
}

/** The first of the nearest values, so ties go to the smaller magnitude. */
export function nearestFp4(v: number, d: number): number {
  let best = 0;
  let error = Number.POSITIVE_INFINITY;
  for (let i = 0; i < 16; i++) {
    const distance = abs(fround(fround(e2m1Values[i]! * d) - v));
    if (distance < error) {
      error = distance;
      best = i;
    }
  }
  return best;
}

export const encodeIq4Nl: EncodeBlock = (x, o, b, at) => {
  const scale = toF16(fitIq4(x, o, 32));
  writeU16(b, at, scale);
  packIq4(x, o, b, at + 2, f16Table()[scale]!);
};
