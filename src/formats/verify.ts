/**
 * Numbers that are none: looks at the scales of every block, and at every value of the float types, for what is not
 * finite. One bad scale makes all 32 to 256 weights of its block infinite or NaN, and everything the model says after
 * it.
 */
import { nvfp4Scale } from "./codebooks.js";
import { iq1mScaleBits } from "./dequantize-grid.js";
import type { Dtype } from "./dtypes.js";

/** Whether the exponent of a half is all ones: its high byte tells. */
const isHalf = (high: number): boolean => (high & 0x7c) === 0x7c;

/** Where the half-precision scales of a block lie. */
const halves: Readonly<Record<string, readonly number[]>> = {
  Q4_0: [0],
  Q4_1: [0, 2],
  Q5_0: [0],
  Q5_1: [0, 2],
  Q8_0: [0],
  Q8_1: [0, 2],
  Q2_K: [80, 82],
  Q3_K: [108],
  Q4_K: [0, 2],
  Q5_K: [0, 2],
  Q6_K: [208],
  IQ2_XXS: [0],
  IQ2_XS: [0],
  IQ2_S: [0],
  IQ3_XXS: [0],
  IQ3_S: [0],
  IQ1_S: [0],
  IQ4_NL: [0],
  IQ4_XS: [0],
  TQ1_0: [52],
  TQ2_0: [64],
  Q1_0: [0],
  Q2_0: [0],
};

/** Mask of the exponent in a word of 32 bits, and of that of the word's upper half. */
const wordMasks: Readonly<Record<string, readonly number[]>> = {
  F32: [0x7f800000],
  F16: [0x7c00, 0x7c000000],
  BF16: [0x7f80, 0x7f800000],
};

type Find = (bytes: Uint8Array, from: number) => number;

/**
 * A function that finds the first block at or behind `from` (in blocks) that is not finite, -1: none. The bytes are
 * whole blocks and begin at a multiple of 4.  @returns undefined for a type that has no such numbers, or none that is
 * known here
 */
export function blockFinder(dtype: Dtype): Find | undefined {
  const { name, blockBytes } = dtype;
  const masks = wordMasks[name];
  if (masks !== undefined) return findWords(masks, blockBytes);
  const at = halves[name];
  if (at !== undefined) return findHalves(at, blockBytes);
  const bad = others[name];
  return bad === undefined ? undefined : (bytes, from) => search(bytes, from, blockBytes, bad);
}

/** The rest, a block at a time. */
const others: Readonly<Record<string, (bytes: Uint8Array, at: number) => boolean>> = {
  // 255 is E8M0's NaN.
  MXFP4: (b, at) => b[at] === 255,
  NVFP4: (b, at) => nvfp4Bad[b[at]!]! + nvfp4Bad[b[at + 1]!]! + nvfp4Bad[b[at + 2]!]! + nvfp4Bad[b[at + 3]!]! > 0,
  IQ1_M: (b, at) => isHalf(iq1mScaleBits(b, at) >> 8),
  Q8_K: (b, at) => (b[at + 3]! & 0x7f) === 0x7f && b[at + 2]! >= 0x80,
  F64: (b, at) => (b[at + 7]! & 0x7f) === 0x7f && b[at + 6]! >= 0xf0,
};

const nvfp4Bad = Uint8Array.from({ length: 256 }, (_, code) => (Number.isFinite(nvfp4Scale(code)) ? 0 : 1));

function search(
  bytes: Uint8Array,
  from: number,
  blockBytes: number,
  bad: (bytes: Uint8Array, at: number) => boolean,
): number {
  const blocks = Math.floor(bytes.length / blockBytes);
  for (let i = from; i < blocks; i++) if (bad(bytes, i * blockBytes)) return i;
  return -1;
}

/** One or two scales; loops of their own, for this is done a hundred million times. */
function findHalves(at: readonly number[], blockBytes: number): Find {
  const high = at[0]! + 1;
  const second = at.length > 1 ? at[1]! + 1 : high;
  return (bytes, from) => {
    const end = bytes.length - blockBytes;
    for (let p = from * blockBytes; p <= end; p += blockBytes)
      if ((bytes[p + high]! & 0x7c) === 0x7c || (bytes[p + second]! & 0x7c) === 0x7c) return p / blockBytes;
    return -1;
  };
}

/** Values of two or four bytes, four bytes at a time. */
function findWords([low, high = low]: readonly number[], valueBytes: number): Find {
  const [a, b] = [low!, high!];
  return (bytes, from) => {
    const words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length >> 2);
    const first = (from * valueBytes) >> 2;
    // The word that `from` lies in may begin with a value that was found before.
    for (let i = first; i < words.length; i++) {
      const word = words[i]!;
      if ((word & a) !== a && (word & b) !== b) continue;
      const value = exactly(word, i, a, valueBytes, from);
      if (value >= 0) return value;
    }
    const rest = bytes.length & 3;
    if (rest === 0) return -1;
    const last = bytes.length / valueBytes - 1;
    const half = bytes[bytes.length - 2]! | (bytes[bytes.length - 1]! << 8);
    return last >= from && (half & a) === a ? last : -1;
  };
}

/** Which value of a word it is. */
function exactly(word: number, index: number, mask: number, valueBytes: number, from: number): number {
  if (valueBytes === 4) return index;
  if ((word & mask) === mask && 2 * index >= from) return 2 * index;
  return ((word >>> 16) & mask) === mask && 2 * index + 1 >= from ? 2 * index + 1 : -1;
}
