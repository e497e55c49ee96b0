/**
 * Decoders of the types with blocks of 32 values, and NVFP4. Each rounds to f32 where ggml does, so results equal it
 * bit for bit: products of an f32 and a small integer are exact in double, so only a product that is added to needs
 * `fround`.
 */
import { e2m1Values, iq4Values, mxfp4Scale, nvfp4Scale } from "./codebooks.js";
import { f16Table, readU16 } from "./float16.js";

/** Decodes the block at `b[at]` to `y[o..]`. */
export type DecodeBlock = (b: Uint8Array, at: number, y: Float32Array, o: number) => void;

const scaleAt = (b: Uint8Array, at: number) => f16Table()[readU16(b, at)]!;
const { fround } = Math;

/** Low nibbles of 16 bytes are values 0-15, high nibbles values 16-31. */
export const decodeQ4_0: DecodeBlock = (b, at, y, o) => {
  const d = scaleAt(b, at);
  for (let i = 0; i < 16; i++) {
    const q = b[at + 2 + i]!;
    y[o + i] = ((q & 15) - 8) * d;
    y[o + 16 + i] = ((q >> 4) - 8) * d;
  }
};

export const decodeQ4_1: DecodeBlock = (b, at, y, o) => {
  const d = scaleAt(b, at);
  const m = scaleAt(b, at + 2);
  for (let i = 0; i < 16; i++) {
    const q = b[at + 4 + i]!;
    y[o + i] = fround((q & 15) * d) + m;
    y[o + 16 + i] = fround((q >> 4) * d) + m;
  }
};

/** The fifth bits are one little-endian word, bit e for value e. */
export const decodeQ5_0: DecodeBlock = (b, at, y, o) => {
  const d = scaleAt(b, at);
  const high = readU16(b, at + 2) | (readU16(b, at + 4) << 16);
  for (let i = 0; i < 16; i++) {
    const q = b[at + 6 + i]!;
    y[o + i] = (((q & 15) | (((high >>> i) & 1) << 4)) - 16) * d;
    y[o + 16 + i] = (((q >> 4) | (((high >>> (i + 16)) & 1) << 4)) - 16) * d;
  }
};

export const decodeQ5_1: DecodeBlock = (b, at, y, o) => {
  const d = scaleAt(b, at);
  const m = scaleAt(b, at + 2);
  const high = readU16(b, at + 4) | (readU16(b, at + 6) << 16);
  for (let i = 0; i < 16; i++) {
    const q = b[at + 8 + i]!;
    y[o + i] = fround(((q & 15) | (((high >>> i) & 1) << 4)) * d) + m;
    y[o + 16 + i] = fround(((q >> 4) | (((high >>> (i + 16)) & 1) << 4)) * d) + m;
  }
};

export const decodeQ8_0: DecodeBlock = (b, at, y, o) => {
  const d = scaleAt(b, at);
  for (let i = 0; i < 32; i++) y[o + i] = ((b[at + 2 + i]! << 24) >> 24) * d;
};

export const decodeIq4Nl: DecodeBlock = (b, at, y, o) => {
  const d = scaleAt(b, at);
  for (let i = 0; i < 16; i++) {
    const q = b[at + 2 + i]!;
    y[o + i] = iq4Values[q & 15]! * d;
    y[o + 16 + i] = iq4Values[q >> 4]! * d;
  }
};

export const decodeMxfp4: DecodeBlock = (b, at, y, o) => {
  const d = mxfp4Scale(b[at]!);
  for (let i = 0; i < 16; i++) {
    const q = b[at + 1 + i]!;
    y[o + i] = e2m1Values[q & 15]! * d;
    y[o + 16 + i] = e2m1Values[q >> 4]! * d;
  }
};

/** 64 values: four scales, then 8 bytes for 16 values each, low nibbles first. */
export const decodeNvfp4: DecodeBlock = (b, at, y, o) => {
  for (let s = 0; s < 4; s++) {
    const d = nvfp4Scale(b[at + s]!);
    for (let i = 0; i < 8; i++) {
      const q = b[at + 4 + 8 * s + i]!;
      y[o + 16 * s + i] = e2m1Values[q & 15]! * d;
      y[o + 16 * s + 8 + i] = e2m1Values[q >> 4]! * d;
    }
  }
};
