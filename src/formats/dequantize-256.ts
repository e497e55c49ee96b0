/** Decoders of the types with super-blocks of 256 values; rounding as in dequantize-32.ts. */
import { iq4Values } from "./codebooks.js";
import type { DecodeBlock } from "./dequantize-32.js";
import { f16Table, readU16 } from "./float16.js";

const scaleAt = (b: Uint8Array, at: number) => f16Table()[readU16(b, at)]!;
const { fround } = Math;

/** 2-bit planes: byte 32h + l holds values 128h + l, + 32, + 64, + 96, low bits first. Scale and min: a nibble each. */
export const decodeQ2K: DecodeBlock = (b, at, y, o) => {
  const d = scaleAt(b, at + 80);
  const dmin = scaleAt(b, at + 82);
  for (let sub = 0; sub < 16; sub++) {
    const scale = b[at + sub]!;
    const dl = fround(d * (scale & 15));
    const ml = fround(dmin * (scale >> 4));
    const e0 = 16 * sub;
    const qs = at + 16 + 32 * (e0 >> 7) + (e0 & 31);
    const shift = 2 * ((e0 & 127) >> 5);
    for (let i = 0; i < 16; i++) y[o + e0 + i] = fround(dl * ((b[qs + i]! >> shift) & 3)) - ml;
  }
};

/** Scale k of Q3_K, 6 bits stored with an offset of 32, from the 12 bytes at `s`. */
export function q3Scale(b: Uint8Array, s: number, k: number): number {
  const low = k < 8 ? b[s + k]! & 15 : b[s + k - 8]! >> 4;
  const high = (b[s + 8 + (k & 3)]! >> (2 * (k >> 2))) & 3;
  return (low | (high << 4)) - 32;
}

/** Planes as Q2_K; a clear bit of hmask subtracts 4. */
export const decodeQ3K: DecodeBlock = (b, at, y, o) => {
  const d = scaleAt(b, at + 108);
  for (let sub = 0; sub < 16; sub++) {
    const dl = fround(d * q3Scale(b, at + 96, sub));
    const e0 = 16 * sub;
    const l0 = e0 & 31;
    const qs = at + 32 + 32 * (e0 >> 7) + l0;
    const shift = 2 * ((e0 & 127) >> 5);
    const maskBit = 1 << (e0 >> 5);
    for (let i = 0; i < 16; i++) {
      const q = ((b[qs + i]! >> shift) & 3) - (b[at + l0 + i]! & maskBit ? 0 : 4);
      y[o + e0 + i] = dl * q;
    }
  }
};

/** Scale and min j (0-7) of Q4_K and Q5_K, 6 bits each, from the 12 bytes at `s`. */
export function k4Scale(b: Uint8Array, s: number, j: number): number {
  return j < 4 ? b[s + j]! & 63 : (b[s + j + 4]! & 15) | ((b[s + j - 4]! >> 6) << 4);
}
export function k4Min(b: Uint8Array, s: number, j: number): number {
  return j < 4 ? b[s + j + 4]! & 63 : (b[s + j + 4]! >> 4) | ((b[s + j]! >> 6) << 4);
}

/** Two groups of 32 share 32 bytes: the even one in the low nibbles. */
export const decodeQ4K: DecodeBlock = (b, at, y, o) => {
  const d = scaleAt(b, at);
  const dmin = scaleAt(b, at + 2);
  for (let g = 0; g < 8; g++) {
    const dl = fround(d * k4Scale(b, at + 4, g));
    const ml = fround(dmin * k4Min(b, at + 4, g));
    const qs = at + 16 + 32 * (g >> 1);
    const shift = 4 * (g & 1);
    for (let l = 0; l < 32; l++) y[o + 32 * g + l] = fround(dl * ((b[qs + l]! >> shift) & 15)) - ml;
  }
};

export const decodeQ5K: DecodeBlock = (b, at, y, o) => {
  const d = scaleAt(b, at);
  const dmin = scaleAt(b, at + 2);
  for (let g = 0; g < 8; g++) {
    const dl = fround(d * k4Scale(b, at + 4, g));
    const ml = fround(dmin * k4Min(b, at + 4, g));
    const qs = at + 48 + 32 * (g >> 1);
    const shift = 4 * (g & 1);
    for (let l = 0; l < 32; l++) {
      const q = ((b[qs + l]! >> shift) & 15) | (((b[at + 16 + l]! >> g) & 1) << 4);
      y[o + 32 * g + l] = fround(dl * q) - ml;
    }
  }
};

/** Half h, run j of 32 values: nibbles of ql[64h + 32(j & 1)], low for j 0-1, high for 2-3; upper bits in qh planes. */
export const decodeQ6K: DecodeBlock = (b, at, y, o) => {
  const d = scaleAt(b, at + 208);
  for (let sub = 0; sub < 16; sub++) {
    const dl = fround(d * ((b[at + 192 + sub]! << 24) >> 24));
    const e0 = 16 * sub;
    const h = e0 >> 7;
    const j = (e0 & 127) >> 5;
    const ql = at + 64 * h + 32 * (j & 1) + (e0 & 31);
    const qh = at + 128 + 32 * h + (e0 & 31);
    const nibble = j < 2 ? 0 : 4;
    for (let i = 0; i < 16; i++) {
      const q = ((b[ql + i]! >> nibble) & 15) | (((b[qh + i]! >> (2 * j)) & 3) << 4);
      y[o + e0 + i] = dl * (q - 32);
    }
  }
};

/** Groups of 32 in the nibble order of Q4_0; their 6-bit scales are split into low nibbles and a word of high pairs. */
export const decodeIq4Xs: DecodeBlock = (b, at, y, o) => {
  const d = scaleAt(b, at);
  const high = readU16(b, at + 2);
  for (let g = 0; g < 8; g++) {
    const low = (b[at + 4 + (g >> 1)]! >> (4 * (g & 1))) & 15;
    const dl = fround(d * ((low | (((high >> (2 * g)) & 3) << 4)) - 32));
    for (let i = 0; i < 16; i++) {
      const q = b[at + 8 + 16 * g + i]!;
      y[o + 32 * g + i] = dl * iq4Values[q & 15]!;
      y[o + 32 * g + 16 + i] = dl * iq4Values[q >> 4]!;
    }
  }
};
