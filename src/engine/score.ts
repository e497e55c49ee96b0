/** Logits and log-probabilities of given tokens. */
import { checkLogits } from "../sampling/candidates.js";
import { type RowScans, type TokenLogprobs, topLogprobs } from "../sampling/logprobs.js";
import type { JobEvent, JobResult, ScoreRequest } from "./jobs.js";
import type { Task, Wanted } from "./task.js";

/** Whole rows are sent as they come, a few at a time: those of a pass may be hundreds of megabytes. */
const rowsBytes = 4 * 2 ** 20;

export interface ScoreContext {
  readonly emit: (event: JobEvent) => void;
  readonly scans: RowScans;
}

export class ScoreTask implements Task {
  readonly tokens: Int32Array;
  readonly known: number;
  readonly promptTokens: number;
  readonly mostPositions: number;
  /** Texts that are scored are rarely the beginning of anything. */
  readonly past = "spare";
  readonly answering = false;
  readonly generated = 0;
  result: JobResult | undefined;
  private readonly context: ScoreContext;
  private readonly output: ScoreRequest["output"];
  /** The first position whose logits have not been seen. */
  private next: number;
  /** Rows that were seen and not sent yet, from position `first` on: the first `filled` values. */
  private rows = new Float32Array(0);
  private filled = 0;
  private first = 0;
  private readonly logprobs: TokenLogprobs[] = [];
  private readonly alternatives: number | undefined;
  private began = 0;

  /** Rows from position `from` on; of a number outside the text, the last one. */
  constructor(
    context: ScoreContext,
    tokens: Int32Array,
    { from, output, alternatives }: Pick<ScoreRequest, "from" | "output" | "alternatives">,
  ) {
    this.context = context;
    this.alternatives = alternatives;
    this.output = output;
    this.tokens = tokens;
    this.known = tokens.length;
    this.promptTokens = tokens.length;
    this.mostPositions = tokens.length;
    this.next = Math.min(Math.max(0, from), tokens.length - 1);
  }

  get reusable(): number {
    return this.next;
  }

  start(): void {
    this.began = performance.now();
  }

  wanted(position: number): Wanted {
    return position >= this.next ? "logits" : "nothing";
  }

  take(position: number, row: Float32Array): void {
    if (position < this.next) return;
    this.next = position + 1;
    if (this.filled === 0 && this.logprobs.length === 0) this.first = position;
    if (this.output === "logits") {
      checkLogits(row);
      this.hold(row);
    } else if (this.next < this.known)
      this.logprobs.push(topLogprobs(row, this.tokens[this.next]!, this.alternatives ?? 0, this.context.scans));
  }

  passed(): void {
    this.sendRows();
    const logprobs = this.logprobs.splice(0);
    if (logprobs.length > 0) {
      const { first: position } = this;
      if (this.alternatives !== undefined) this.context.emit({ kind: "promptLogprobs", first: position + 1, logprobs });
      else this.context.emit({ kind: "logprobs", position, values: Float64Array.from(logprobs, (p) => p.logprob) });
    }
    if (this.next === this.known) this.result = { kind: "score", computeMs: performance.now() - this.began };
  }

  private hold(row: Float32Array): void {
    if (this.filled === 0) {
      const most = Math.max(1, Math.floor(rowsBytes / row.byteLength));
      this.rows = new Float32Array(Math.min(most, this.known - this.first) * row.length);
    }
    this.rows.set(row, this.filled);
    this.filled += row.length;
    if (this.filled === this.rows.length) this.sendRows();
  }

  /** The values are the receiver's then. */
  private sendRows(): void {
    if (this.filled === 0) return;
    const whole = this.filled === this.rows.length;
    const values = whole ? this.rows : this.rows.slice(0, this.filled);
    this.filled = 0;
    this.context.emit({ kind: "logits", position: this.first, values });
  }
}
