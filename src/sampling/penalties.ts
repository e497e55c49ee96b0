import type { Candidates } from "./candidates.js";

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
 * Repetition, frequency and presence penalties over the last tokens, prompt included. The window is a ring with a count
 * per token, so that a token costs the same whatever the window.
 * @source Keskar et al., CTRL (repetition); the OpenAI API reference (frequency, presence)
 */
export class Penalties {
  private readonly settings: PenaltySettings;
  private readonly counts: Int32Array;
  private readonly ring: Int32Array;
  private filled = 0;
  private next = 0;

  /** @param limit the most tokens there can be, for a window of -1 */
  constructor(settings: PenaltySettings, vocab: number, limit: number) {
    this.settings = settings;
    const off = settings.repeat === 1 && settings.frequency === 0 && settings.presence === 0;
    const length = off ? 0 : settings.lastTokens < 0 ? limit : settings.lastTokens;
    this.ring = new Int32Array(length);
    this.counts = new Int32Array(length === 0 ? 0 : vocab);
  }

  /** Whether some token is penalised. */
  get active(): boolean {
    return this.filled > 0;
  }

  accept(id: number): void {
    const { ring, counts } = this;
    if (ring.length === 0 || id >= counts.length) return;
    if (this.filled === ring.length) {
      const gone = ring[this.next]!;
      counts[gone] = counts[gone]! - 1;
    } else this.filled++;
    ring[this.next] = id;
    counts[id] = counts[id]! + 1;
    this.next = (this.next + 1) % ring.length;
  }

  apply(candidates: Candidates): void {
    if (this.filled === 0) return;
    const { counts } = this;
    const { repeat, frequency, presence } = this.settings;
    const { ids, logits, size } = candidates;
    for (let i = 0; i < size; i++) {
      const count = counts[ids[i]!]!;
      if (count === 0) continue;
      const logit = logits[i]!;
      logits[i] = (logit <= 0 ? logit * repeat : logit / repeat) - count * frequency - presence;
    }
    candidates.sorted = false;
  }
}
