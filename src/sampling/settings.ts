/** The settings of sampling: names, defaults (llama.cpp's), ranges. */
import { randomInt } from "node:crypto";
import { HundredweightError } from "../errors.js";

/** In llama.cpp's default order; its names and, in `samplerLetters`, its letters. */
export const samplerNames = [
  "penalties",
  "dry",
  "top_n_sigma",
  "top_k",
  "typ_p",
  "top_p",
  "min_p",
  "xtc",
  "temperature",
] as const;
export type SamplerName = (typeof samplerNames)[number];

/** One letter for each of `samplerNames`. */
export const samplerLetters = "edskypmxt";

/** How the next token is chosen. */
export interface SamplingSettings {
  /** 0 = the likeliest of what the other samplers left (greedy). */
  readonly temperature: number;
  /** The temperature is chosen up to this far around `temperature`, by the entropy of the candidates; 0 = off. */
  readonly dynamicTemperatureRange: number;
  /** How entropy maps to that temperature; 1 = in proportion. */
  readonly dynamicTemperatureExponent: number;
  /** 0 = off. */
  readonly topK: number;
  /** 1 = off. */
  readonly topP: number;
  /** 0 = off. */
  readonly minP: number;
  /** 1 = off. */
  readonly typical: number;
  /** Drops logits more than so many standard deviations below the best; 0 or less = off. */
  readonly topNSigma: number;
  /** How often the likeliest tokens are left out, all but the last that reaches `xtcThreshold`; 0 = off. */
  readonly xtcProbability: number;
  /** Above 0.5 = off: no two tokens can reach it. */
  readonly xtcThreshold: number;
  /** Candidates that top-p, min-p, typical and XTC leave at least. */
  readonly minKeep: number;
  /** 1 = off. */
  readonly repeatPenalty: number;
  /** 0 = off. */
  readonly frequencyPenalty: number;
  /** 0 = off. */
  readonly presencePenalty: number;
  /** Window of the three penalties: 0 = none, -1 = the whole context. */
  readonly penaltyLastTokens: number;
  /**
   * Penalty of a token that would lengthen a repetition: multiplier * base ^ (its length - allowed length); 0 = off.
   */
  readonly dryMultiplier: number;
  /** Less than 1 = off. */
  readonly dryBase: number;
  /** Repetitions up to this length in tokens cost nothing. */
  readonly dryAllowedLength: number;
  /** Tokens in which repetitions are looked for: 0 = none, -1 = the whole context. */
  readonly dryPenaltyLastTokens: number;
  /** Texts across which no repetition is seen; the first 40 bytes of each count. */
  readonly drySequenceBreakers: readonly string[];
  /** 1 or 2: temperature and Mirostat of this version in place of all other samplers; 0 = off. */
  readonly mirostat: number;
  /** Surprise to aim at, in bits. */
  readonly mirostatTau: number;
  /** Learning rate. */
  readonly mirostatEta: number;
  /** Which samplers run, and in which order. */
  readonly samplers: readonly SamplerName[];
  /** Added to logits before everything else, at most 1e30 either way; -Infinity bans a token. */
  readonly logitBias: readonly (readonly [id: number, bias: number])[];
  /** Same seed, same settings, same text. */
  readonly seed: number;
}

/** llama.cpp's defaults, for least surprise. */
export const defaultSampling: Omit<SamplingSettings, "seed"> = {
  temperature: 0.8,
  dynamicTemperatureRange: 0,
  dynamicTemperatureExponent: 1,
  topK: 40,
  topP: 0.95,
  minP: 0.05,
  typical: 1,
  topNSigma: -1,
  xtcProbability: 0,
  xtcThreshold: 0.1,
  minKeep: 0,
  repeatPenalty: 1,
  frequencyPenalty: 0,
  presencePenalty: 0,
  penaltyLastTokens: 64,
  dryMultiplier: 0,
  dryBase: 1.75,
  dryAllowedLength: 2,
  dryPenaltyLastTokens: 64,
  drySequenceBreakers: ["\n", ":", '"', "*"],
  mirostat: 0,
  mirostatTau: 5,
  mirostatEta: 0.1,
  samplers: samplerNames,
  logitBias: [],
};

/**
 * The settings of an answer: each is the caller's, else the one the file recommends, else llama.cpp's default.
 * @param given settings by name, `undefined` where the caller says nothing; other names are ignored
 * @returns with a random seed when none is given
 */
export function mergeSampling(
  given: { readonly [K in keyof SamplingSettings]?: SamplingSettings[K] | undefined },
  recommended: Partial<SamplingSettings>,
): SamplingSettings {
  const settings = { ...defaultSampling, seed: randomInt(2 ** 47), ...recommended };
  const said = Object.entries(given).filter(([name, value]) => name in settings && value !== undefined);
  return { ...settings, ...(Object.fromEntries(said) as Partial<SamplingSettings>) };
}

const most = 2 ** 31 - 1;

/** Settings that are one number. */
export type NumericSetting = Exclude<keyof SamplingSettings, "logitBias" | "samplers" | "drySequenceBreakers">;

/** Least and most, and whether only whole numbers count. */
export const samplingRanges: Readonly<Record<NumericSetting, readonly [least: number, most: number, whole: boolean]>> =
  {
    temperature: [0, 1000, false],
    dynamicTemperatureRange: [0, 1000, false],
    dynamicTemperatureExponent: [-1000, 1000, false],
    topK: [0, most, true],
    topP: [0, 1, false],
    minP: [0, 1, false],
    typical: [0, 1, false],
    topNSigma: [-1, 1e6, false],
    xtcProbability: [0, 1, false],
    xtcThreshold: [0, 1, false],
    minKeep: [0, most, true],
    repeatPenalty: [1e-6, 1e6, false],
    frequencyPenalty: [-1e6, 1e6, false],
    presencePenalty: [-1e6, 1e6, false],
    penaltyLastTokens: [-1, most, true],
    dryMultiplier: [0, 1e6, false],
    dryBase: [0, 1e6, false],
    dryAllowedLength: [0, most, true],
    dryPenaltyLastTokens: [-1, most, true],
    mirostat: [0, 2, true],
    mirostatTau: [0, 1000, false],
    mirostatEta: [0, 1000, false],
    seed: [0, Number.MAX_SAFE_INTEGER, true],
  };

/** Metadata keys (general.sampling.*) by which a file recommends settings. */
export const recommendedKeys: Readonly<Record<string, NumericSetting>> = {
  temp: "temperature",
  top_k: "topK",
  top_p: "topP",
  min_p: "minP",
  xtc_probability: "xtcProbability",
  xtc_threshold: "xtcThreshold",
  penalty_last_n: "penaltyLastTokens",
  penalty_repeat: "repeatPenalty",
  mirostat: "mirostat",
  mirostat_tau: "mirostatTau",
  mirostat_eta: "mirostatEta",
};

/** A finite bias counts up to here: several of one token must not add up to infinity. */
export const mostBias = 1e30;

/** Scanning a vocabulary for a breaker costs milliseconds: a request may not ask for thousands. */
export const maxBreakers = 32;
const maxSamplers = 32;

/** @throws OPTION_INVALID naming the setting */
export function checkSampling(settings: SamplingSettings, vocab: number): void {
  for (const [name, [min, max, whole]] of Object.entries(samplingRanges)) {
    const value = settings[name as NumericSetting];
    if (!(typeof value === "number" && value >= min && value <= max && (!whole || Number.isInteger(value)))) {
      throw invalid(`${name}: ${value} is not a ${whole ? "whole " : ""}number from ${min} to ${max}`);
    }
  }
  for (const [id, bias] of settings.logitBias) {
    if (!Number.isInteger(id) || id < 0 || id >= vocab) {
      throw invalid(`logitBias: token ${id} is not in the vocabulary of ${vocab}`);
    }
    if (typeof bias !== "number" || Number.isNaN(bias) || bias === Infinity) {
      throw invalid(`logitBias: ${bias} for token ${id} is not a bias`);
    }
  }
  if (settings.samplers.length > maxSamplers) {
    throw invalid(`samplers: ${settings.samplers.length} are more than ${maxSamplers}`);
  }
  for (const name of settings.samplers) {
    if (!samplerNames.includes(name))
      throw invalid(`samplers: '${name}' is none; there are ${samplerNames.join(", ")}`);
  }
  const breakers = settings.drySequenceBreakers;
  if (breakers.length > maxBreakers) {
    throw invalid(`drySequenceBreakers: ${breakers.length} are more than ${maxBreakers}`);
  }
  if (!breakers.every((text) => typeof text === "string")) throw invalid("drySequenceBreakers: not a list of texts");
}

/** `edkypmxt` -> names.  @throws OPTION_INVALID */
export function samplersOfLetters(letters: string): SamplerName[] {
  return [...letters].map((letter) => {
    const at = samplerLetters.indexOf(letter);
    if (at < 0) {
      const known = samplerNames.map((name, i) => `${samplerLetters[i]} (${name})`).join(", ");
      throw invalid(`'${letter}' is no sampler; there are ${known}`);
    }
    return samplerNames[at]!;
  });
}

function invalid(message: string): HundredweightError {
  return new HundredweightError("OPTION_INVALID", message);
}
