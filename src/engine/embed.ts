/** One vector for a text, from the final normalized hidden states of its tokens. */
import type { EmbedRequest, JobResult } from "./jobs.js";
import type { Task, Wanted } from "./task.js";

export class EmbedTask implements Task {
  readonly tokens: Int32Array;
  readonly known: number;
  readonly promptTokens: number;
  readonly mostPositions: number;
  /** Nobody goes on where a text ends of which only a vector is wanted. */
  readonly past = "spare";
  readonly answering = false;
  result: JobResult | undefined;
  /** Row by row in order of position, in double precision: neither chunks nor other jobs change a bit. */
  private readonly sum: Float64Array;
  private readonly mean: boolean;
  readonly generated = 0;
  private next: number;

  constructor(prompt: Int32Array, dim: number, pooling: EmbedRequest["pooling"]) {
    this.tokens = prompt;
    this.known = prompt.length;
    this.promptTokens = prompt.length;
    this.mostPositions = prompt.length;
    this.mean = pooling === "mean";
    this.next = this.mean ? 0 : prompt.length - 1;
    this.sum = new Float64Array(dim);
  }

  get reusable(): number {
    return this.next;
  }

  start(): void {}

  wanted(position: number): Wanted {
    return position >= this.next ? "hidden" : "nothing";
  }

  take(position: number, hidden: Float32Array): void {
    if (position < this.next) return;
    this.next = position + 1;
    for (let i = 0; i < hidden.length; i++) this.sum[i] = this.sum[i]! + hidden[i]!;
    if (this.next < this.known) return;
    // Length 1 makes dividing a mean's sum needless.
    const norm = Math.sqrt(this.sum.reduce((total, value) => total + value * value, 0));
    const embedding = Float32Array.from(this.sum, (value) => (norm > 0 ? value / norm : 0));
    this.result = { kind: "embed", embedding, tokens: this.known };
  }

  passed(): void {}
}
