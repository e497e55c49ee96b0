/** How many answers are being made or wait. The engine's own queue is behind this one and never larger. */
import { busy, HttpError } from "./http-error.js";

export class Gate {
  readonly limit: number;
  private readonly draining: AbortSignal;
  private open = 0;
  private idle: (() => void)[] = [];

  constructor(limit: number, draining: AbortSignal) {
    this.limit = limit;
    this.draining = draining;
  }

  /** Answers under way. */
  get count(): number {
    return this.open;
  }

  /**
   * Takes places for `answers` at once.
   * @returns gives them back; safe to call twice
   * @throws HttpError 429 with Retry-After when there are not so many, 503 while the server ends
   */
  enter(answers: number): () => void {
    if (this.draining.aborted) throw busy(503, "the server is ending", "server_ending", 5);
    if (answers > this.limit) {
      throw new HttpError(400, `${answers} answers at once are more than the ${this.limit} this server takes`, {
        param: "n",
      });
    }
    if (this.open + answers > this.limit) {
      throw busy(429, `${this.open} answers are being made or wait, the limit is ${this.limit}`, "queue_full", 5);
    }
    this.open += answers;
    let left = false;
    return () => {
      if (left) return;
      left = true;
      this.open -= answers;
      if (this.open === 0) for (const wake of this.idle.splice(0)) wake();
    };
  }

  /** Resolves when no answer is under way. */
  whenIdle(): Promise<void> {
    return this.open === 0 ? Promise.resolve() : new Promise((resolve) => this.idle.push(resolve));
  }
}
