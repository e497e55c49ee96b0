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
import { temperature } from "./temperature.js";
import { topK } from "./top-k.js";
import { topP } from "./top-p.js";
import { typical } from "./typical.js";

/** How the next token is chosen. */
export interface SamplingSettings {
  /** 0 = greedy. */
  readonly temperature: number;
  /** 0 = off. */
  readonly topK: number;
  /** 1 = off. */
  readonly topP: number;
  /** 0 = off. */
  readonly minP: number;
  /** 1 = off. */
  readonly typical: number;
  /** 1 = off. */
  readonly repeatPenalty: number;
  /** 0 = off. */
  readonly frequencyPenalty: number;
  /** 0 = off. */
  readonly presencePenalty: number;
  /** Window of the three penalties: 0 = none, -1 = the whole context. */
  readonly penaltyLastTokens: number;
  /** Added to logits before everything else; -Infinity bans a token. */
  readonly logitBias: readonly (readonly [id: number, bias: number])[];
  /** Same seed, same settings, same text. */
  readonly seed: number;
}

/** llama.cpp's defaults, for least surprise. */
export const defaultSampling: Omit<SamplingSettings, "seed"> = {
  temperature: 0.8,
  topK: 40,
  topP: 0.95,
  minP: 0.05,
  typical: 1,
  repeatPenalty: 1,
  frequencyPenalty: 0,
  presencePenalty: 0,
  penaltyLastTokens: 64,
  logitBias: [],
};

const ranges: readonly (readonly [Exclude<keyof SamplingSettings, "logitBias">, number, number])[] = [
  ["temperature", 0, 1000],
  ["topK", 0, 2 ** 31 - 1],
  ["topP", 0, 1],
  ["minP", 0, 1],
  ["typical", 0, 1],
  ["repeatPenalty", 1e-6, 1e6],
  ["frequencyPenalty", -1e6, 1e6],
  ["presencePenalty", -1e6, 1e6],
  ["penaltyLastTokens", -1, 2 ** 31 - 1],
  ["seed", 0, Number.MAX_SAFE_INTEGER],
];

/** @throws OPTION_INVALID naming the setting */
export function checkSampling(settings: SamplingSettings, vocab: number): void {
  for (const [name, min, max] of ranges) {
    const value = settings[name];
    if (!(typeof value === "number" && value >= min && value <= max)) {
      throw new HundredweightError("OPTION_INVALID", `${name}: ${value} is not a number from ${min} to ${max}`);
    }
  }
  for (const [id, bias] of settings.logitBias) {
    if (!Number.isInteger(id) || id < 0 || id >= vocab) {
      throw new HundredweightError("OPTION_INVALID", `logitBias: token ${id} is not in the vocabulary of ${vocab}`);
    }
    if (Number.isNaN(bias) || bias === Infinity) {
      throw new HundredweightError("OPTION_INVALID", `logitBias: ${bias} for token ${id} is not a bias`);
    }
  }
}

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
