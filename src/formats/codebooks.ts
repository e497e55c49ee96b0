/** The value tables of the non-linear types. */
import { type GridName, packedGrids } from "./codebook-grids.js";

/** IQ4_NL and IQ4_XS. */
export const iq4Values = Int8Array.of(-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113);

/** MXFP4 and NVFP4: the E2M1 values 0 0.5 1 1.5 2 3 4 6 doubled, and negated. */
export const e2m1Values = Int8Array.of(0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12);

/** Half of 2^(e-127), which the doubled table makes up for; e = 0 and 1 are f32 subnormals. */
export function mxfp4Scale(e: number): number {
  return 2 ** (e - 128);
}

/** Half of an unsigned E4M3 number: NVFP4's scale, the sign bit ignored and the code of NaN zero. */
export function nvfp4Scale(byte: number): number {
  const code = byte & 127;
  if (code === 127) return 0;
  return code < 8 ? code * 2 ** -10 : (8 + (code & 7)) * 2 ** ((code >> 3) - 11);
}

interface Alphabet {
  readonly letters: readonly number[];
  /** Values of an entry. */
  readonly values: 4 | 8;
}
const iq2: Alphabet = { letters: [8, 25, 43], values: 8 };
export const alphabets: Readonly<Record<GridName, Alphabet>> = {
  iq2xxs: iq2,
  iq2xs: iq2,
  iq2s: iq2,
  iq3xxs: { letters: [4, 12, 20, 28, 36, 44, 52, 62], values: 4 },
  iq3s: { letters: [1, 3, 5, 7, 9, 11, 13, 15], values: 4 },
  iq1: { letters: [-1, 0, 1], values: 8 },
};

const grids = new Map<GridName, Int8Array>();

/**
 * The entries of a code book one after the other, built at the first call.
 * @shape [entries][values]
 */
export function gridOf(name: GridName): Int8Array {
  const known = grids.get(name);
  if (known !== undefined) return known;
  const { letters, values } = alphabets[name];
  const bits = 16 / values === 2 ? 2 : 3;
  const words = Buffer.from(packedGrids[name], "base64");
  const grid = new Int8Array((words.length / 2) * values);
  for (let i = 0; i < grid.length; i++) {
    const word = words.readUInt16LE(2 * Math.floor(i / values));
    grid[i] = letters[(word >> (bits * (i % values))) & ((1 << bits) - 1)]!;
  }
  grids.set(name, grid);
  return grid;
}

/** Sign bits of 8 values from the 7 that are stored: the eighth makes the number of minus signs even. */
export function evenSigns(seven: number): number {
  let parity = seven ^ (seven >> 4);
  parity ^= parity >> 2;
  parity ^= parity >> 1;
  return seven | ((parity & 1) << 7);
}
