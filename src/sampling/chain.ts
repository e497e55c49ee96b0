/**
 * From a row of logits to a token id. The order is llama.cpp's: logit bias, penalties, top-k, typical, top-p, min-p,
 * temperature, then the draw; with temperature 0 the best token after bias and penalties.
 */
import { HundredweightError } from "../errors.js";
import type { Candidates } from "./candidates.js";
import { draw } from "./draw.js";
import { minP } from "./min-p.js";
import { Penalties } from "./penalties.js";
import { Rng } from "./rng.js";
import { checkSampling, type SamplingSettings } from "./settings.js";
import { temperature } from "./temperature.js";
import { topK } from "./top-k.js";
import { topP } from "./top-p.js";
import { typical } from "./typical.js";

export { checkSampling, defaultSampling, type SamplerName, type SamplingSettings, samplerNames } from "./settings.js";

export class SamplerChain {
  private readonly settings: SamplingSettings;
  private readonly candidates: Candidates;
  private readonly penalties: Penalties;
  private readonly rng: Rng;

  /**
   * @param candidates scratch shared by the chains of an engine: one row is sampled at a time
   * @param limit the most tokens the chain will be shown
   * @throws OPTION_INVALID
   */
  constructor(settings: SamplingSettings, candidates: Candidates, limit: number) {
    checkSampling(settings, candidates.ids.length);
    this.settings = settings;
    this.candidates = candidates;
    this.rng = new Rng(settings.seed);
    this.penalties = new Penalties(
      {
        lastTokens: settings.penaltyLastTokens,
        repeat: settings.repeatPenalty,
        frequency: settings.frequencyPenalty,
        presence: settings.presencePenalty,
      },
      candidates.ids.length,
      limit,
    );
  }

  /** Shows the chain a token of the prompt or a chosen one: penalties look back at them. */
  accept(id: number): void {
    this.penalties.accept(id);
  }

  /**
   * @param row logits [vocab]; not changed
   * @throws MODEL_INVALID when a logit is not finite; OPTION_INVALID when the bias bans every token
   */
  sample(row: Float32Array): number {
    const { settings, candidates } = this;
    const greedy = settings.temperature <= 0;
    const count = greedy ? 1 : settings.topK;
    // Nothing changes a logit before top-k, so the others need not be looked at twice.
    if (count > 0 && settings.logitBias.length === 0 && !this.penalties.active) {
      candidates.loadBest(row, count);
      return greedy ? candidates.ids[0]! : this.choose();
    }
    candidates.load(row);
    for (const [id, bias] of settings.logitBias) candidates.logits[id] = candidates.logits[id]! + bias;
    this.penalties.apply(candidates);
    if (candidates.logits[candidates.best()] === -Infinity) {
      throw new HundredweightError("OPTION_INVALID", "logitBias: every token of the vocabulary is banned");
    }
    if (greedy) return candidates.ids[candidates.best()]!;
    topK(candidates, settings.topK);
    return this.choose();
  }

  /** Among the candidates that top-k left. */
  private choose(): number {
    const { settings, candidates } = this;
    typical(candidates, settings.typical);
    topP(candidates, settings.topP);
    minP(candidates, settings.minP);
    temperature(candidates, settings.temperature);
    return draw(candidates, this.rng);
  }
}
