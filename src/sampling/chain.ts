/**
 * From a row of logits to a token id. The order is llama.cpp's: logit bias, penalties, DRY, top-n-sigma, top-k,
 * typical, top-p, min-p, XTC, temperature, then the draw; with Mirostat: logit bias, temperature, Mirostat. `samplers`
 * changes it.
 */
import { HundredweightError } from "../errors.js";
import type { AllowedTokens } from "./allowed.js";
import type { Candidates } from "./candidates.js";
import { draw } from "./draw.js";
import { Dry } from "./dry.js";
import { Breakers, type BreakerVocabulary } from "./dry-breakers.js";
import type { Edits } from "./edits.js";
import type { TokenLogprobs } from "./logprobs.js";
import { minP } from "./min-p.js";
import { Mirostat } from "./mirostat.js";
import { Penalties } from "./penalties.js";
import { Rng, type RngState } from "./rng.js";
import { checkSampling, mostBias, type SamplerName, type SamplingSettings } from "./settings.js";
import { dynamicTemperature, temperature } from "./temperature.js";
import { topK } from "./top-k.js";
import { topNSigma } from "./top-n-sigma.js";
import { topP } from "./top-p.js";
import { typical } from "./typical.js";
import { xtc } from "./xtc.js";

export {
  checkSampling,
  defaultSampling,
  type SamplerName,
  type SamplingSettings,
  samplerNames,
} from "./settings.js";

type Step = (candidates: Candidates) => void;

/**
 * Holds what a chain remembers besides the tokens it was shown: with both, another chain of the same settings goes on
 * as this one would have.
 */
export interface SamplerState {
  readonly random: RngState;
  /** The bound on surprise, in bits, that Mirostat has learned. */
  readonly mirostat?: number;
}

export class SamplerChain {
  private readonly settings: SamplingSettings;
  private readonly candidates: Candidates;
  private readonly penalties: Penalties;
  private readonly dry: Dry;
  private readonly rng: Rng;
  private readonly mirostat: Mirostat | undefined;
  /** Changes to logits of single tokens before anything is dropped, logit bias apart. */
  private readonly editors: readonly (Penalties | Dry)[];
  /** How many of the best the first step leaves, 0 = all: the others need not be loaded. */
  private readonly loaded: number;
  private readonly steps: readonly Step[];
  private readonly biasIds: Int32Array;
  private readonly biases: Float64Array;

  /**
   * @param candidates scratch shared by the chains of an engine: one row is sampled at a time
   * @param limit the most tokens the chain will be shown
   * @param vocabulary translates the sequence breakers of DRY
   * @throws OPTION_INVALID
   */
  constructor(settings: SamplingSettings, candidates: Candidates, limit: number, vocabulary: BreakerVocabulary) {
    const vocab = candidates.ids.length;
    checkSampling(settings, vocab);
    this.settings = settings;
    this.candidates = candidates;
    this.rng = new Rng(settings.seed);
    this.biasIds = Int32Array.from(settings.logitBias, ([id]) => id);
    this.biases = Float64Array.from(settings.logitBias, ([, bias]) =>
      bias === -Infinity ? bias : Math.max(-mostBias, Math.min(mostBias, bias)),
    );
    this.mirostat =
      settings.mirostat === 0
        ? undefined
        : new Mirostat(settings.mirostat, settings.mirostatTau, settings.mirostatEta, vocab);
    const order: readonly SamplerName[] = this.mirostat === undefined ? settings.samplers : ["temperature"];
    const wants = (name: SamplerName): boolean => order.includes(name);
    this.penalties = new Penalties(
      {
        lastTokens: wants("penalties") ? settings.penaltyLastTokens : 0,
        repeat: settings.repeatPenalty,
        frequency: settings.frequencyPenalty,
        presence: settings.presencePenalty,
      },
      vocab,
      limit,
    );
    const dry = {
      multiplier: wants("dry") ? settings.dryMultiplier : 0,
      base: settings.dryBase,
      allowedLength: settings.dryAllowedLength,
      lastTokens: settings.dryPenaltyLastTokens,
    };
    const dryOn = dry.multiplier > 0 && dry.base >= 1 && dry.lastTokens !== 0;
    this.dry = new Dry(
      dry,
      vocab,
      limit,
      dryOn ? Breakers.ofTexts(vocabulary, settings.drySequenceBreakers) : undefined,
    );

    const active = order.filter((name) => this.acts(name));
    const cutAt = active.findIndex((name) => name !== "penalties" && name !== "dry");
    const head = cutAt < 0 ? active.length : cutAt;
    this.editors = active.slice(0, head).map((name) => (name === "dry" ? this.dry : this.penalties));
    const rest = active.slice(head);
    const greedy = this.greedy(rest);
    this.loaded = greedy ? 1 : rest[0] === "top_k" ? settings.topK : 0;
    this.steps = greedy ? [] : rest.slice(this.loaded > 0 ? 1 : 0).map((name) => this.step(name));
  }

  /** Shows the chain a token of the prompt or a chosen one: penalties look back at them. */
  accept(id: number): void {
    this.penalties.accept(id);
    this.dry.accept(id);
  }

  get state(): SamplerState {
    return { random: this.rng.state, ...(this.mirostat !== undefined && { mirostat: this.mirostat.mu }) };
  }

  set state({ random, mirostat }: SamplerState) {
    this.rng.state = random;
    if (this.mirostat !== undefined && mirostat !== undefined) this.mirostat.mu = mirostat;
  }

  /**
   * @param row logits [vocab]; not changed
   * @param allowed the tokens that may come, at least one; default: all
   * @throws MODEL_INVALID when a logit is no number or +Infinity, or none is above -Infinity; OPTION_INVALID when the
   * bias bans
   *   every token that may come
   */
  sample(row: Float32Array, allowed?: AllowedTokens): number {
    const { candidates } = this;
    const edits = this.edit(row);
    if (allowed !== undefined) candidates.loadAllowed(row, allowed, this.loaded, edits);
    else if (this.loaded > 0) candidates.loadBest(row, this.loaded, edits);
    else candidates.load(row, edits);
    edits?.clear();
    if (candidates.logits[candidates.best()] === -Infinity)
      this.nothingLeft(edits !== undefined, allowed !== undefined);
    for (const step of this.steps) step(candidates);
    return this.mirostat === undefined ? draw(candidates, this.rng) : this.mirostat.sample(candidates, this.rng);
  }

  /**
   * The probabilities by which the last choice was made: of what the samplers left.
   * @param id what was chosen @param count likeliest ones beside it, fewer where fewer are left
   */
  probabilities(id: number, count: number): TokenLogprobs {
    const { candidates } = this;
    const sum = candidates.softmax();
    const { ids, weights, size } = candidates;
    const left = Array.from({ length: size }, (_, i) => i).filter((i) => weights[i]! > 0);
    left.sort((a, b) => weights[b]! - weights[a]! || ids[a]! - ids[b]!);
    const entry = (i: number) => ({ id: ids[i]!, logprob: Math.log(weights[i]! / sum) });
    const own = left.find((i) => ids[i] === id);
    return { id, logprob: own === undefined ? 0 : entry(own).logprob, top: left.slice(0, count).map(entry) };
  }

  /** Every candidate has the probability 0. */
  private nothingLeft(edited: boolean, constrained: boolean): void {
    const which = constrained ? "every token that the constraint allows" : "every token of the vocabulary";
    if (edited && this.biases.includes(-Infinity)) {
      throw new HundredweightError("OPTION_INVALID", `logitBias: ${which} is banned`);
    }
    if (!constrained)
      throw new HundredweightError("MODEL_INVALID", "the model gave -Infinity as the logit of every token");
    // The model thinks none of them possible: they are all the same then.
    this.candidates.logits.fill(0, 0, this.candidates.size);
  }

  /** Logits changed by bias and penalties; undefined when none are. */
  private edit(row: Float32Array): Edits | undefined {
    const { biasIds, biases, editors } = this;
    if (biasIds.length === 0 && editors.length === 0) return undefined;
    const { edits } = this.candidates;
    edits.clear(); // a row that was refused may have left some
    edits.add(row, biasIds, biases);
    for (const editor of editors) editor.edit(row, edits);
    return edits;
  }

  /** Whether a sampler changes anything with these settings. */
  private acts(name: SamplerName): boolean {
    const { settings } = this;
    switch (name) {
      case "penalties":
        return this.penalties.on;
      case "dry":
        return this.dry.on;
      case "top_n_sigma":
        return settings.topNSigma > 0;
      case "top_k":
        return settings.topK > 0;
      case "typ_p":
        return settings.typical < 1;
      case "top_p":
        return settings.topP < 1;
      case "min_p":
        return settings.minP > 0;
      case "xtc":
        return settings.xtcProbability > 0 && settings.xtcThreshold <= 0.5;
      case "temperature":
        return settings.temperature !== 1 || settings.dynamicTemperatureRange > 0;
    }
  }

  /** Whether the steps end with the best candidate: temperature 0, and nothing before it drops the best. */
  private greedy(rest: readonly SamplerName[]): boolean {
    const at = rest.indexOf("temperature");
    if (at < 0 || this.settings.temperature > 0) return false;
    if (this.settings.dynamicTemperatureRange > 0 && this.mirostat === undefined) return false;
    return rest.slice(0, at).every((name) => ["top_n_sigma", "top_k", "top_p", "min_p"].includes(name));
  }

  private step(name: SamplerName): Step {
    const { settings, rng } = this;
    const { minKeep } = settings;
    switch (name) {
      case "penalties":
        return (c) => this.penalties.apply(c);
      case "dry":
        return (c) => this.dry.apply(c);
      case "top_n_sigma":
        return (c) => topNSigma(c, settings.topNSigma);
      case "top_k":
        return (c) => topK(c, settings.topK);
      case "typ_p":
        return (c) => typical(c, settings.typical, minKeep);
      case "top_p":
        return (c) => topP(c, settings.topP, minKeep);
      case "min_p":
        return (c) => minP(c, settings.minP, minKeep);
      case "xtc": {
        const xtcSettings = { probability: settings.xtcProbability, threshold: settings.xtcThreshold, minKeep };
        return (c) => xtc(c, xtcSettings, rng);
      }
      case "temperature": {
        if (this.mirostat !== undefined) return (c) => temperature(c, settings.temperature);
        const { temperature: middle, dynamicTemperatureRange: range, dynamicTemperatureExponent: exponent } = settings;
        return (c) => dynamicTemperature(c, { temperature: middle, range, exponent });
      }
    }
  }
}
