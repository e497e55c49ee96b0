/** The 128 bits of a generator, as four unsigned integers. */
export type RngState = readonly [number, number, number, number];

/**
 * xoshiro128** 1.1 (Blackman and Vigna, prng.di.unimi.it), seeded through SplitMix32: 128 bits of state, period 2^128 -
 * 1, 32-bit integer steps only, so that a seed gives the same draws on every machine.
 */
export class Rng {
  private a: number;
  private b: number;
  private c: number;
  private d: number;

  /** @param seed any whole number; its low 53 bits count */
  constructor(seed: number) {
    const low = seed >>> 0;
    const high = Math.floor(Math.abs(seed) / 2 ** 32) >>> 0;
    let state = (low ^ Math.imul(high, 0x9e3779b9)) >>> 0;
    const next = (): number => {
      state = (state + 0x9e3779b9) >>> 0;
      let z = state;
      z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
      z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
      return (z ^ (z >>> 15)) >>> 0;
    };
    this.a = next();
    this.b = next();
    this.c = next();
    this.d = next() | 1; // never all zero
  }

  /** Where the sequence of numbers stands: a generator that is given it goes on with the same ones. */
  get state(): RngState {
    return [this.a >>> 0, this.b >>> 0, this.c >>> 0, this.d >>> 0];
  }

  set state([a, b, c, d]: RngState) {
    this.a = a;
    this.b = b;
    this.c = c;
    // Never all zero: that would be followed by zeros only.
    this.d = (a | b | c | d) === 0 ? 1 : d;
  }

  /** 32 random bits as an unsigned integer. */
  bits(): number {
    const times5 = Math.imul(this.b, 5);
    const result = Math.imul((times5 << 7) | (times5 >>> 25), 9) >>> 0;
    const t = this.b << 9;
    this.c ^= this.a;
    this.d ^= this.b;
    this.b ^= this.c;
    this.a ^= this.d;
    this.c ^= t;
    this.d = (this.d << 11) | (this.d >>> 21);
    return result;
  }

  /** Uniform in [0, 1) with 53 bits. */
  uniform(): number {
    const high = this.bits() >>> 5;
    const low = this.bits() >>> 6;
    return (high * 2 ** 26 + low) / 2 ** 53;
  }
}
