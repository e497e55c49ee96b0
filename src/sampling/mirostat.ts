import type { Candidates } from "./candidates.js";
import { drawIndex } from "./draw.js";
import type { Rng } from "./rng.js";

/** Tokens from which version 1 estimates the exponent of Zipf's law. */
const zipfTokens = 100;

/**
 * Keeps the surprise of the text near a target by moving a bound on the surprise of each token. Version 1 turns the
 * bound into a number of candidates by the slope of the likeliest ones; version 2 applies it to each candidate.
 * @source Basu et al., Mirostat: A Neural Text Decoding Algorithm that Directly Controls Perplexity; llama.cpp
 */
export class Mirostat {
  private readonly version: number;
  private readonly tau: number;
  private readonly eta: number;
  private readonly vocab: number;
  /** The bound, in bits. */
  mu: number;

  constructor(version: number, tau: number, eta: number, vocab: number) {
    this.version = version;
    this.tau = tau;
    this.eta = eta;
    this.vocab = vocab;
    this.mu = 2 * tau;
  }

  /** Cuts, draws, learns.  @returns a token id */
  sample(candidates: Candidates, rng: Rng): number {
    this.cut(candidates);
    const sum = candidates.softmax();
    const index = drawIndex(candidates, rng, sum);
    this.learn(-Math.log2(candidates.weights[index]! / sum));
    return candidates.ids[index]!;
  }

  cut(candidates: Candidates): void {
    if (this.version === 1) candidates.keepBest(this.bestCount(candidates));
    else this.cutSurprising(candidates);
  }

  /** Moves the bound after a token of so many bits was chosen. */
  learn(surprise: number): void {
    this.mu -= this.eta * (surprise - this.tau);
  }

  private bestCount(candidates: Candidates): number {
    const { size, logits } = candidates;
    const few = Math.min(zipfTokens, size);
    // Those behind stay where they are, for the cut itself.
    const { sorted } = candidates;
    candidates.keepBest(few);
    candidates.size = size;
    candidates.sorted = sorted || few === size;
    let products = 0;
    let squares = 0;
    for (let i = 0; i + 1 < few && logits[i + 1]! > -Infinity; i++) {
      const step = Math.log((i + 2) / (i + 1));
      products += step * (logits[i]! - logits[i + 1]!);
      squares += step * step;
    }
    const slope = products / squares;
    const excess = slope - 1;
    const count = ((excess * 2 ** this.mu) / (1 - this.vocab ** -excess)) ** (1 / slope);
    // No number: one candidate, or a slope of exactly 1.
    return Number.isNaN(count) ? 1 : Math.min(Math.max(Math.floor(count), 1), size);
  }

  private cutSurprising(candidates: Candidates): void {
    const best = candidates.best();
    const max = candidates.logits[best]!;
    const logSum = Math.log(candidates.softmax()) + max;
    // -log2(p) <= mu, and the best one always.
    candidates.keepFrom(Math.min(max, logSum - this.mu * Math.LN2));
    candidates.keepBest(candidates.size);
  }
}
