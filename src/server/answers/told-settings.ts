/** The settings of an answer in llama-server's names, as its answers and `/props` tell them. */
import type { GenerateRequest } from "../../link/protocol.js";
import type { SamplingSettings } from "../../sampling/settings.js";

/** Parts of a request that the engine has no word for: they are told as they were asked for. */
export interface ToldSettings {
  readonly stream: boolean;
  readonly probabilities: number;
  readonly sampled: boolean;
  readonly timings: boolean;
}

export function samplingSettings(settings: SamplingSettings): object {
  return {
    seed: settings.seed,
    temperature: settings.temperature,
    dynatemp_range: settings.dynamicTemperatureRange,
    dynatemp_exponent: settings.dynamicTemperatureExponent,
    top_k: settings.topK,
    top_p: settings.topP,
    min_p: settings.minP,
    top_n_sigma: settings.topNSigma,
    xtc_probability: settings.xtcProbability,
    xtc_threshold: settings.xtcThreshold,
    typical_p: settings.typical,
    repeat_last_n: settings.penaltyLastTokens,
    repeat_penalty: settings.repeatPenalty,
    presence_penalty: settings.presencePenalty,
    frequency_penalty: settings.frequencyPenalty,
    dry_multiplier: settings.dryMultiplier,
    dry_base: settings.dryBase,
    dry_allowed_length: settings.dryAllowedLength,
    dry_penalty_last_n: settings.dryPenaltyLastTokens,
    dry_sequence_breakers: settings.drySequenceBreakers,
    mirostat: settings.mirostat,
    mirostat_tau: settings.mirostatTau,
    mirostat_eta: settings.mirostatEta,
    // The sampler that aims at a probability: there is none, which is its value for off.
    adaptive_target: -1,
    adaptive_decay: 0.9,
    min_keep: settings.minKeep,
    samplers: settings.samplers,
  };
}

/** @param ends tokens that are banned when an answer may not end by itself */
export function generationSettings(
  request: Omit<GenerateRequest, "kind" | "prompt">,
  told: ToldSettings,
  ends: readonly number[],
): object {
  const { sampling, maxTokens, stop, ignoreEos, constraint, adapters, whenFull = {} } = request;
  const banned = ignoreEos ? ends.map((token) => [token, -Infinity] as const) : [];
  const biases = [...sampling.logitBias, ...banned];
  return {
    ...samplingSettings(sampling),
    stop,
    max_tokens: maxTokens,
    n_predict: maxTokens,
    n_keep: whenFull.keep ?? 0,
    n_discard: whenFull.discard ?? 0,
    ignore_eos: ignoreEos,
    stream: told.stream,
    // JSON has no infinity: null is a token that never comes.
    logit_bias: biases.map(([token, bias]) => ({ token, bias: Number.isFinite(bias) ? bias : null })),
    n_probs: told.probabilities,
    grammar: constraint?.kind === "gbnf" ? constraint.grammar : "",
    grammar_lazy: false,
    grammar_triggers: [],
    preserved_tokens: [],
    chat_format: "Content-only",
    reasoning_format: "none",
    reasoning_in_content: false,
    generation_prompt: "",
    "speculative.types": "none",
    timings_per_token: told.timings,
    post_sampling_probs: told.sampled,
    backend_sampling: false,
    lora: (adapters ?? []).map((scale, id) => ({ id, scale })),
  };
}
