/** Sampling fields of a request: OpenAI's and llama.cpp's names, ranges of the samplers themselves. */
import { z } from "zod";
import type { ModelInfo } from "../../link/protocol.js";
import {
  maxBreakers,
  mergeSampling,
  type NumericSetting,
  type SamplingSettings,
  samplerNames,
  samplersOfLetters,
  samplingRanges,
} from "../../sampling/settings.js";
import { wrongField } from "../http/http-error.js";
import { marked } from "../http/served-limits.js";
import { tokenId } from "./token-id.js";

/** Request field -> setting; several names of one thing are all taken, the first one given counts. */
const numeric = {
  temperature: "temperature",
  top_p: "topP",
  top_k: "topK",
  min_p: "minP",
  typical_p: "typical",
  top_n_sigma: "topNSigma",
  min_keep: "minKeep",
  repeat_penalty: "repeatPenalty",
  repetition_penalty: "repeatPenalty",
  repeat_last_n: "penaltyLastTokens",
  frequency_penalty: "frequencyPenalty",
  presence_penalty: "presencePenalty",
  dynatemp_range: "dynamicTemperatureRange",
  dynatemp_exponent: "dynamicTemperatureExponent",
  xtc_probability: "xtcProbability",
  xtc_threshold: "xtcThreshold",
  dry_multiplier: "dryMultiplier",
  dry_base: "dryBase",
  dry_allowed_length: "dryAllowedLength",
  dry_penalty_last_n: "dryPenaltyLastTokens",
  mirostat: "mirostat",
  mirostat_tau: "mirostatTau",
  mirostat_eta: "mirostatEta",
} as const satisfies Record<string, NumericSetting>;

type NumericField = keyof typeof numeric;

function numberOf(field: NumericField): z.ZodOptional<z.ZodNumber> {
  const [least, most, whole] = samplingRanges[numeric[field]];
  const number = whole ? z.int() : z.number();
  // -1 is how other servers switch top-k off.
  return number
    .min(field === "top_k" ? -1 : least)
    .max(most)
    .optional();
}

const bias = z.number().min(-1e6).max(1e6);

export const samplingFields = {
  ...(Object.fromEntries(Object.keys(numeric).map((field) => [field, numberOf(field as NumericField)])) as Record<
    NumericField,
    z.ZodOptional<z.ZodNumber>
  >),
  seed: z.int().optional().describe("The same seed gives the same answer; below 0 or left out: a random one."),
  logit_bias: z
    .union(
      [
        z.record(z.string().regex(/^[0-9]{1,9}$/), bias).meta(marked({ tokenKeys: true })),
        z.array(z.tuple([tokenId, z.union([bias, z.literal(false)])])),
      ],
      "an object of token ids and numbers, or a list of pairs of them",
    )
    .optional()
    .describe("Token id -> bias; as a list of pairs also `[id, false]`, which bans the token."),
  dry_sequence_breakers: z.array(z.string()).max(maxBreakers).optional(),
  samplers: z
    .union(
      [z.array(z.enum(samplerNames)).max(32), z.string().max(32)],
      `a list of ${samplerNames.join(", ")}, or a text of their letters`,
    )
    .optional()
    .describe("Which samplers run and in which order: names, or a letter each."),
};

export type SamplingInput = z.output<z.ZodObject<typeof samplingFields>>;

/**
 * Merges settings: the request's, else the file's, else llama.cpp's defaults.
 * @throws HttpError 400
 */
export function samplingOf(input: SamplingInput, info: ModelInfo): SamplingSettings {
  const numbers: Partial<Record<NumericSetting, number>> = {};
  for (const [field, setting] of Object.entries(numeric).reverse()) {
    const value = input[field as NumericField];
    if (value !== undefined) numbers[setting] = field === "top_k" ? Math.max(0, value) : value;
  }
  const { seed = -1, samplers } = input;
  return mergeSampling(
    {
      ...numbers,
      seed: seed < 0 ? undefined : seed,
      logitBias: input.logit_bias && biasOf(input.logit_bias, info.vocab),
      drySequenceBreakers: input.dry_sequence_breakers,
      samplers: typeof samplers === "string" ? samplersOfLetters(samplers) : samplers,
    },
    info.samplingDefaults,
  );
}

function biasOf(given: NonNullable<SamplingInput["logit_bias"]>, vocab: number): [number, number][] {
  const pairs = Array.isArray(given) ? given : Object.entries(given).map(([id, value]) => [Number(id), value] as const);
  return pairs.map(([id, value]) => {
    if (id >= vocab) throw wrongField("logit_bias", `logit_bias: token ${id} is not in the vocabulary of ${vocab}`);
    return [id, value === false ? -Infinity : value];
  });
}
