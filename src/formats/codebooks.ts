/** The value tables of the non-linear 4-bit types. */

/** IQ4_NL and IQ4_XS. */
export const iq4Values = Int8Array.of(-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113);

/** MXFP4: the E2M1 values 0 0.5 1 1.5 2 3 4 6 doubled, and negated. */
export const fp4Values = Int8Array.of(0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12);

/** Half of 2^(e-127), which the doubled table makes up for; e = 0 and 1 are f32 subnormals. */
export function mxfp4Scale(e: number): number {
  return 2 ** (e - 128);
}
