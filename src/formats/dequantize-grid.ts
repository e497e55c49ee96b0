/**
 * Decoders of the types whose values are entries of a code book: super-blocks of 256 values, index by index 4 or 8 of
 * them, with signs beside. All products are exact in f32 until the last, so the order of the factors is free.
 */
import { evenSigns, gridOf } from "./codebooks.js";
import type { DecodeBlock } from "./dequantize-32.js";
import { f16Table, readU16 } from "./float16.js";

const scaleAt = (b: Uint8Array, at: number) => f16Table()[readU16(b, at)]!;
const readU32 = (b: Uint8Array, at: number) => (readU16(b, at) | (readU16(b, at + 2) << 16)) >>> 0;

/** `n` values of entry `index` to y[o..]: times `scale`, minus where the bit of `signs` is set. */
function put(
  grid: Int8Array,
  index: number,
  n: number,
  scale: number,
  signs: number,
  y: Float32Array,
  o: number,
): void {
  for (let k = 0; k < n; k++) y[o + k] = scale * grid[n * index + k]! * ((signs >> k) & 1 ? -1 : 1);
}

/** Groups of 32: four index bytes, then a word of four times 7 sign bits and a scale of 4 bits. */
export const decodeIq2Xxs: DecodeBlock = (b, at, y, o) => {
  const grid = gridOf("iq2xxs");
  const d = scaleAt(b, at);
  for (let g = 0; g < 8; g++) {
    const word = readU32(b, at + 2 + 8 * g + 4);
    const scale = d * (0.5 + (word >>> 28)) * 0.25;
    for (let l = 0; l < 4; l++) {
      const signs = evenSigns((word >>> (7 * l)) & 127);
      put(grid, b[at + 2 + 8 * g + l]!, 8, scale, signs, y, o + 32 * g + 8 * l);
    }
  }
};

/** The scale nibbles of IQ2_XS and IQ2_S: 16 values each, the low one first. */
const halfScale = (d: number, scales: number, l: number) => d * (0.5 + ((scales >> (4 * (l >> 1))) & 15)) * 0.25;

/** Words of 9 index bits and 7 sign bits, 8 values each. */
export const decodeIq2Xs: DecodeBlock = (b, at, y, o) => {
  const grid = gridOf("iq2xs");
  const d = scaleAt(b, at);
  for (let t = 0; t < 32; t++) {
    const word = readU16(b, at + 2 + 2 * t);
    put(grid, word & 511, 8, halfScale(d, b[at + 66 + (t >> 2)]!, t & 3), evenSigns(word >> 9), y, o + 8 * t);
  }
};

/** Eight low index bits, the two high ones apart; all eight signs. */
export const decodeIq2S: DecodeBlock = (b, at, y, o) => {
  const grid = gridOf("iq2s");
  const d = scaleAt(b, at);
  for (let t = 0; t < 32; t++) {
    const g = t >> 2;
    const index = b[at + 2 + t]! | (((b[at + 66 + g]! >> (2 * (t & 3))) & 3) << 8);
    put(grid, index, 8, halfScale(d, b[at + 74 + g]!, t & 3), b[at + 34 + t]!, y, o + 8 * t);
  }
};

/** As IQ2_XXS with two indexes for 8 values; the words of signs and scales follow all indexes. */
export const decodeIq3Xxs: DecodeBlock = (b, at, y, o) => {
  const grid = gridOf("iq3xxs");
  const d = scaleAt(b, at);
  for (let g = 0; g < 8; g++) {
    const word = readU32(b, at + 66 + 4 * g);
    const scale = d * (0.5 + (word >>> 28)) * 0.5;
    for (let u = 0; u < 8; u++) {
      const signs = evenSigns((word >>> (7 * (u >> 1))) & 127) >> (4 * (u & 1));
      put(grid, b[at + 2 + 8 * g + u]!, 4, scale, signs, y, o + 32 * g + 4 * u);
    }
  }
};

/** Nine index bits for 4 values, the ninth apart; all signs; a scale nibble for 32 values. */
export const decodeIq3S: DecodeBlock = (b, at, y, o) => {
  const grid = gridOf("iq3s");
  const d = scaleAt(b, at);
  for (let u = 0; u < 64; u++) {
    const g = u >> 3;
    const index = b[at + 2 + u]! | (((b[at + 66 + g]! >> (u & 7)) & 1) << 8);
    const scale = d * (1 + 2 * ((b[at + 106 + (g >> 1)]! >> (4 * (g & 1))) & 15));
    put(grid, index, 4, scale, b[at + 74 + (u >> 1)]! >> (4 * (u & 1)), y, o + 4 * u);
  }
};

/** Entry `index` of the book of -1, 0 and 1, an eighth added or taken off. */
function putShifted(index: number, scale: number, minus: boolean, y: Float32Array, o: number): void {
  const grid = gridOf("iq1");
  for (let k = 0; k < 8; k++) y[o + k] = scale * (grid[8 * index + k]! + (minus ? -0.125 : 0.125));
}

/** Groups of 32: a word of four times 3 high index bits, a scale of 3 bits and the sign of the eighth. */
export const decodeIq1S: DecodeBlock = (b, at, y, o) => {
  const d = scaleAt(b, at);
  for (let t = 0; t < 32; t++) {
    const word = readU16(b, at + 34 + 2 * (t >> 2));
    const index = b[at + 2 + t]! | (((word >> (3 * (t & 3))) & 7) << 8);
    putShifted(index, d * (2 * ((word >> 12) & 7) + 1), (word & 0x8000) !== 0, y, o + 8 * t);
  }
};

/** The bits of IQ1_M's scale lie in the high nibbles of its four words of sub-scales. */
export const iq1mScaleBits = (b: Uint8Array, at: number): number =>
  [0, 1, 2, 3].reduce((bits, i) => bits | ((readU16(b, at + 48 + 2 * i) >> 12) << (4 * i)), 0);

/** A nibble for 8 values: 3 high index bits and the sign of the eighth; scales of 3 bits for 16 values. */
export const decodeIq1M: DecodeBlock = (b, at, y, o) => {
  const d = f16Table()[iq1mScaleBits(b, at)]!;
  for (let t = 0; t < 32; t++) {
    const nibble = (b[at + 32 + (t >> 1)]! >> (4 * (t & 1))) & 15;
    const p = t >> 1;
    const s = (readU16(b, at + 48 + 2 * (p >> 2)) >> (3 * (p & 3))) & 7;
    putShifted(b[at + t]! | ((nibble & 7) << 8), d * (2 * s + 1), (nibble & 8) !== 0, y, o + 8 * t);
  }
};
