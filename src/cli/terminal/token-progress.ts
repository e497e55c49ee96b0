/** Progress of work whose measure are tokens: `3 of 6 · 118 tokens · 2.3/s · about 2 min left`. */
import { Progress, type ProgressOptions } from "./progress.js";

/** Rates are of the last so many milliseconds. */
const rateMs = 10_000;
const tickMs = 250;

export interface TokensDone {
  readonly done: number;
  readonly total: number;
  readonly tokens: number;
  /** Tokens still to be made; undefined while nobody knows. */
  readonly tokensLeft?: number | undefined;
  /** Told before the tokens. */
  readonly facts?: readonly string[];
}

/** Looks at the work a few times a second, so that a line stands there before the first part is done. */
export class TokenProgress {
  private readonly progress: Progress;
  private readonly look: () => TokensDone;
  private readonly clock: () => number;
  private readonly timer: NodeJS.Timeout | undefined;
  private readonly seen: { readonly at: number; readonly tokens: number }[];

  constructor(label: string, look: () => TokensDone, options: ProgressOptions = {}) {
    this.progress = new Progress(label, { delayMs: 0, ...options });
    this.look = look;
    this.clock = options.clock ?? (() => performance.now());
    this.seen = [{ at: this.clock(), tokens: look().tokens }];
    if (!this.progress.enabled) return;
    this.show();
    this.timer = setInterval(() => this.show(), tickMs).unref();
  }

  show(): void {
    const { done, total, tokens, tokensLeft, facts: more = [] } = this.look();
    const at = this.clock();
    this.seen.push({ at, tokens });
    while (this.seen.length > 2 && at - this.seen[1]!.at >= rateMs) this.seen.shift();
    const since = this.seen[0]!;
    const perMs = at > since.at ? (tokens - since.tokens) / (at - since.at) : 0;
    const facts = [...more, `${tokens.toLocaleString("en")} tokens`];
    if (perMs > 0) facts.push(`${figures(1000 * perMs)}/s`);
    const leftMs = tokensLeft === undefined || perMs <= 0 ? Number.NaN : tokensLeft / perMs;
    this.progress.update(done, total, { facts, leftMs });
  }

  end(): void {
    clearInterval(this.timer);
    this.progress.end();
  }
}

const figures = (rate: number): string => rate.toFixed(rate < 100 ? 1 : 0);
