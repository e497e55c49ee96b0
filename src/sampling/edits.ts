/**
 * Changed logits of a row, by token, beside the row: bias and penalties touch few of 262,144 tokens, so the others are
 * neither copied nor looked at. Shared scratch, like the candidates.
 */
export class Edits {
  /** Tokens that were changed, in the order of their first change [size]. */
  readonly ids: Int32Array;
  /** The changed logits, by token id [vocab]. Double precision, as candidates have it. */
  readonly values: Float64Array;
  /** 1 = changed, by token id [vocab]. */
  readonly marks: Uint8Array;
  size = 0;

  constructor(vocab: number) {
    this.ids = new Int32Array(vocab);
    this.values = new Float64Array(vocab);
    this.marks = new Uint8Array(vocab);
  }

  clear(): void {
    const { ids, marks, size } = this;
    for (let i = 0; i < size; i++) marks[ids[i]!] = 0;
    this.size = 0;
  }

  /** The logit of a token as it is now. */
  get(row: Float32Array, id: number): number {
    return this.marks[id] === 1 ? this.values[id]! : row[id]!;
  }

  set(id: number, logit: number): void {
    if (this.marks[id] === 0) {
      this.marks[id] = 1;
      this.ids[this.size++] = id;
    }
    this.values[id] = logit;
  }

  /** Adds `amounts[i]` to the logit of `tokens[i]`, one after the other. */
  add(row: Float32Array, tokens: Int32Array, amounts: Float64Array): void {
    const { ids, values, marks } = this;
    let { size } = this;
    for (let i = 0; i < tokens.length; i++) {
      const id = tokens[i]!;
      if (marks[id] === 0) {
        marks[id] = 1;
        ids[size++] = id;
        values[id] = row[id]! + amounts[i]!;
      } else values[id] = values[id]! + amounts[i]!;
    }
    this.size = size;
  }
}
