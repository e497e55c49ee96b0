import type { Candidates } from "./candidates.js";
import { Breakers } from "./dry-breakers.js";
import type { Edits } from "./edits.js";

export interface DrySettings {
  /** 0 = off. */
  readonly multiplier: number;
  /** Less than 1 = off. */
  readonly base: number;
  /** Repetitions up to this length in tokens cost nothing. */
  readonly allowedLength: number;
  /** Tokens that are searched; 0 = off, -1 = all there were. */
  readonly lastTokens: number;
}

/** ln of the largest f32: penalties stay below it, as llama.cpp's. */
const maxLog = 88.7228391;

/**
 * "Don't repeat yourself": tokens that would lengthen a repetition of what was said before lose multiplier * base ^
 * (length of the repetition - allowed length). Repetitions do not reach across a sequence breaker.
 * @source pull request 5677 of text-generation-webui; llama.cpp, `dry`
 */
export class Dry {
  private readonly settings: DrySettings;
  private readonly breakers: Breakers;
  private readonly window: number;
  /** The last tokens, in one piece that ends at `end` [2 * window]. */
  private readonly history: Int32Array;
  private end = 0;
  private filled = 0;
  /** Z function of the reversed history [window]. */
  private readonly repeats: Int32Array;
  /** Length of the longest repetition a token would lengthen, plus 1; 0 = none [vocab]. */
  private readonly longest: Int32Array;
  private readonly found: Int32Array;
  private foundCount = 0;

  /** @param limit the most tokens there can be: no window is larger */
  constructor(settings: DrySettings, vocab: number, limit: number, breakers: Breakers = Breakers.none) {
    const off = settings.multiplier === 0 || settings.base < 1;
    this.settings = settings;
    this.breakers = breakers;
    this.window = off ? 0 : settings.lastTokens < 0 ? limit : Math.min(settings.lastTokens, limit);
    // Pages of these that are not touched take no memory.
    this.history = new Int32Array(2 * this.window);
    this.repeats = new Int32Array(this.window);
    this.longest = new Int32Array(this.window === 0 ? 0 : vocab);
    this.found = new Int32Array(Math.min(this.window, this.longest.length));
  }

  get on(): boolean {
    return this.window > 0;
  }

  accept(id: number): void {
    const { history, window } = this;
    if (window === 0 || id >= this.longest.length) return;
    if (this.end === history.length) {
      history.copyWithin(0, this.end - window + 1, this.end);
      this.end = window - 1;
    }
    history[this.end++] = id;
    if (this.filled < window) this.filled++;
  }

  /** Changes the logits of tokens that would lengthen a repetition. */
  edit(row: Float32Array, edits: Edits): void {
    this.search();
    for (let i = 0; i < this.foundCount; i++) {
      const id = this.found[i]!;
      const penalty = this.penalty(id);
      if (penalty !== 0) edits.set(id, edits.get(row, id) - penalty);
    }
    this.forget();
  }

  /** The same on candidates, for an order in which others were dropped before. */
  apply(candidates: Candidates): void {
    this.search();
    if (this.foundCount === 0) return;
    const { ids, logits, size } = candidates;
    for (let i = 0; i < size; i++) if (this.longest[ids[i]!] !== 0) logits[i] = logits[i]! - this.penalty(ids[i]!);
    candidates.sorted = false;
    this.forget();
  }

  /** The penalty of a token in `found`. Breakers of one token never cost anything. */
  private penalty(id: number): number {
    const { multiplier, base, allowedLength } = this.settings;
    if (this.breakers.isSingle(id)) return 0;
    const exponent = this.longest[id]! - 1 - allowedLength;
    const most = base > 1.000001 ? Math.floor(maxLog / Math.log(base)) : 0;
    return multiplier * base ** (most > 0 ? Math.min(exponent, most) : exponent);
  }

  /** Fills `longest` and `found`. Linear in the window. */
  private search(): void {
    const { history, longest, found, repeats, filled } = this;
    const { allowedLength } = this.settings;
    if (filled <= allowedLength) return;
    const reach = this.reach();
    if (reach < allowedLength) return;
    zFunction(history, this.end, filled, repeats);
    const last = this.end - 1;
    for (let back = 1; back < filled; back++) {
      const length = Math.min(repeats[back]!, reach);
      if (length < allowedLength) continue;
      // The last `length` tokens are also those that end `back` before the end; this one followed them there.
      const id = history[last - back + 1]!;
      if (longest[id] === 0) found[this.foundCount++] = id;
      if (longest[id]! < length + 1) longest[id] = length + 1;
    }
  }

  private forget(): void {
    for (let i = 0; i < this.foundCount; i++) this.longest[this.found[i]!] = 0;
    this.foundCount = 0;
  }

  /** Tokens since the last breaker. */
  private reach(): number {
    for (let back = 0; back < this.filled; back++) {
      const tail = this.breakers.tailAt(this.history, this.end - 1 - back, this.end);
      if (tail >= 0) return back - tail;
    }
    return this.filled;
  }
}

/**
 * Z function of the last `length` tokens before `end`, read backwards: out[k] = how many tokens from the end on,
 * backwards, equal those from k before the end on. Every comparison that succeeds moves the right border of what is
 * known, so there are at most 2 * length of them.
 * @source Gusfield, Algorithms on Strings, Trees and Sequences, 1.4
 */
function zFunction(history: Int32Array, end: number, length: number, out: Int32Array): void {
  const last = end - 1;
  let left = 0;
  let right = 0; // the stretch [left, right) equals [0, right - left)
  for (let k = 1; k < length; k++) {
    let z = k < right ? Math.min(right - k, out[k - left]!) : 0;
    while (k + z < length && history[last - z] === history[last - k - z]) z++;
    out[k] = z;
    if (k + z > right) {
      left = k;
      right = k + z;
    }
  }
}
