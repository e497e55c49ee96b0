/** One vector for a text, from the final normalized hidden states of its tokens. */

/** Gathers hidden states row by row, in order of position: sums are in double precision, so chunks change no bit. */
export class Pooling {
  private readonly sum: Float64Array;
  private readonly mean: boolean;
  private rows = 0;

  constructor(dim: number, kind: "mean" | "last") {
    this.sum = new Float64Array(dim);
    this.mean = kind === "mean";
  }

  add(hidden: Float32Array): void {
    if (!this.mean) this.sum.set(hidden);
    else for (let i = 0; i < hidden.length; i++) this.sum[i] = this.sum[i]! + hidden[i]!;
    this.rows++;
  }

  /** Of length 1 (a vector of zeros stays one): the scale of a sum does not matter then, so a mean needs no division. */
  result(): Float32Array {
    const norm = Math.sqrt(this.sum.reduce((total, value) => total + value * value, 0));
    return Float32Array.from(this.sum, (value) => (norm > 0 ? value / norm : 0));
  }

  get count(): number {
    return this.rows;
  }
}
