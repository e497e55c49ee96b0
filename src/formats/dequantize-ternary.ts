/** Decoders of the types with a few levels and one scale: Q1_0 and Q2_0, and BitNet's TQ1_0 and TQ2_0. */
import type { DecodeBlock } from "./dequantize-32.js";
import { f16Table, readU16 } from "./float16.js";

const scaleAt = (b: Uint8Array, at: number) => f16Table()[readU16(b, at)]!;

/** 128 values of one bit: d or -d. */
export const decodeQ1_0: DecodeBlock = (b, at, y, o) => {
  const d = scaleAt(b, at);
  for (let e = 0; e < 128; e++) y[o + e] = (b[at + 2 + (e >> 3)]! >> (e & 7)) & 1 ? d : -d;
};

/** 64 values of two bits, four neighbours in a byte: -1, 0, 1 or 2 times d. */
export const decodeQ2_0: DecodeBlock = (b, at, y, o) => {
  const d = scaleAt(b, at);
  for (let e = 0; e < 64; e++) y[o + e] = (((b[at + 2 + (e >> 2)]! >> (2 * (e & 3))) & 3) - 1) * d;
};

/**
 * Where value e of TQ1_0 lies: the byte and which of its digits to the base of 3, the first one the most significant.
 */
export function ternaryDigit(e: number): { byte: number; digit: number } {
  if (e < 160) return { byte: e & 31, digit: e >> 5 };
  if (e < 240) return { byte: 32 + ((e - 160) & 15), digit: (e - 160) >> 4 };
  return { byte: 48 + ((e - 240) & 3), digit: (e - 240) >> 2 };
}

/** A byte is a fraction of 256 whose digits come out by multiplying with 3; 256 values, d last. */
export const decodeTq1_0: DecodeBlock = (b, at, y, o) => {
  const d = scaleAt(b, at + 52);
  for (let e = 0; e < 256; e++) {
    const { byte, digit } = ternaryDigit(e);
    y[o + e] = (((((b[at + byte]! * 3 ** digit) & 255) * 3) >> 8) - 1) * d;
  }
};

/** Two bits as Q2_K has them, minus 1. */
export const decodeTq2_0: DecodeBlock = (b, at, y, o) => {
  const d = scaleAt(b, at + 64);
  for (let e = 0; e < 256; e++) {
    const q = (b[at + 32 * (e >> 7) + (e & 31)]! >> (2 * ((e & 127) >> 5))) & 3;
    y[o + e] = (q - 1) * d;
  }
};
