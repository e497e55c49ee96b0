import type { Candidates } from "./candidates.js";
import type { Edits } from "./edits.js";

export interface PenaltySettings {
  /** How many of the last tokens count; 0 = none, -1 = all there were. */
  readonly lastTokens: number;
  /** Divides a positive and multiplies a negative logit of a token that occurred; 1 = off. */
  readonly repeat: number;
  /** Subtracted once for each occurrence. */
  readonly frequency: number;
  /** Subtracted once when the token occurred. */
  readonly presence: number;
}

/**
 * When more than one token in so many was seen, going through all in order is faster than jumping about in the tables.
 */
const manyTokens = 16;

/**
 * Repetition, frequency and presence penalties over the last tokens, prompt included. The window is a ring with a count
 * per token and a list of those in it, so that a token costs the same to accept whatever the window, and a choice costs
 * one step for each token of the window that is different from the others.
 * @source Keskar et al., CTRL (repetition); the OpenAI API reference (frequency, presence)
 */
export class Penalties {
  private readonly settings: PenaltySettings;
  private readonly ring: Int32Array;
  private filled = 0;
  private next = 0;
  /** Occurrences in the window [vocab]. */
  private readonly counts: Int32Array;
  /** Tokens with a count [distinct], and where each of them stands there [vocab]. */
  private readonly seen: Int32Array;
  private readonly places: Int32Array;
  private distinct = 0;

  /** @param limit the most tokens there can be: no window is larger */
  constructor(settings: PenaltySettings, vocab: number, limit: number) {
    this.settings = settings;
    const off = settings.repeat === 1 && settings.frequency === 0 && settings.presence === 0;
    const length = off ? 0 : settings.lastTokens < 0 ? limit : Math.min(settings.lastTokens, limit);
    // Pages of these that no token touches take no memory.
    const tokens = length === 0 ? 0 : vocab;
    this.ring = new Int32Array(length);
    this.counts = new Int32Array(tokens);
    this.places = new Int32Array(tokens);
    this.seen = new Int32Array(Math.min(length, tokens));
  }

  /** Whether some token may be penalised. */
  get on(): boolean {
    return this.ring.length > 0;
  }

  accept(id: number): void {
    const { ring, counts, seen, places } = this;
    if (ring.length === 0 || id >= counts.length) return;
    if (this.filled === ring.length) {
      const gone = ring[this.next]!;
      counts[gone] = counts[gone]! - 1;
      if (counts[gone] === 0) {
        const last = seen[--this.distinct]!;
        seen[places[gone]!] = last;
        places[last] = places[gone]!;
      }
    } else this.filled++;
    ring[this.next] = id;
    if (counts[id] === 0) {
      seen[this.distinct] = id;
      places[id] = this.distinct++;
    }
    counts[id] = counts[id]! + 1;
    this.next = this.next + 1 === ring.length ? 0 : this.next + 1;
  }

  /** Changes the logits of tokens in the window. */
  edit(row: Float32Array, edits: Edits): void {
    const { counts, seen, distinct } = this;
    if (distinct * manyTokens > counts.length) {
      for (let id = 0; id < counts.length; id++) {
        if (counts[id] !== 0) edits.set(id, this.penalised(edits.get(row, id), counts[id]!));
      }
      return;
    }
    for (let i = 0; i < distinct; i++) {
      const id = seen[i]!;
      edits.set(id, this.penalised(edits.get(row, id), counts[id]!));
    }
  }

  /** The same on candidates, for an order in which others were dropped before. */
  apply(candidates: Candidates): void {
    if (this.filled === 0) return;
    const { ids, logits, size } = candidates;
    for (let i = 0; i < size; i++) {
      const count = this.counts[ids[i]!]!;
      if (count > 0) logits[i] = this.penalised(logits[i]!, count);
    }
    candidates.sorted = false;
  }

  private penalised(logit: number, count: number): number {
    const { repeat, frequency, presence } = this.settings;
    return (logit <= 0 ? logit * repeat : logit / repeat) - count * frequency - presence;
  }
}
