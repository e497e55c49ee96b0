/** Options of `run` and `chat` that shape an answer. */
import type { Command } from "commander";
import { HundredweightError } from "../errors.js";
import type { GenerateOptions } from "../model.js";
import { parseInteger, parseNumber } from "./options.js";

export interface SamplingFlags {
  maxTokens?: number;
  temperature?: number;
  topK?: number;
  topP?: number;
  minP?: number;
  typical?: number;
  repeatPenalty?: number;
  frequencyPenalty?: number;
  presencePenalty?: number;
  repeatLastN?: number;
  logitBias?: [number, number][];
  seed?: number;
  stop?: string[];
  ignoreEos?: boolean;
}

const most = 2 ** 31 - 1;

export function addSamplingOptions(command: Command): Command {
  const number = (name: string, min: number, max: number) => (t: string) => parseNumber(t, name, min, max);
  return command
    .option("-n, --max-tokens <n>", "most tokens to generate (default 512, -1 = until the context is full)", (t) =>
      parseInteger(t, "--max-tokens", -1, most),
    )
    .option("--temperature <t>", "0 = greedy (default 0.8)", number("--temperature", 0, 1000))
    .option("--top-k <k>", "keep the k best (default 40, 0 = off)", (t) => parseInteger(t, "--top-k", 0, most))
    .option("--top-p <p>", "keep the best that reach p together (default 0.95, 1 = off)", number("--top-p", 0, 1))
    .option("--min-p <p>", "keep those p times as likely as the best (default 0.05, 0 = off)", number("--min-p", 0, 1))
    .option("--typical <p>", "locally typical sampling (default 1 = off)", number("--typical", 0, 1))
    .option(
      "--repeat-penalty <x>",
      "divide the logits of repeated tokens (default 1)",
      number("--repeat-penalty", 1e-6, 1e6),
    )
    .option(
      "--frequency-penalty <x>",
      "subtract for each repetition (default 0)",
      number("--frequency-penalty", -1e6, 1e6),
    )
    .option(
      "--presence-penalty <x>",
      "subtract once when repeated (default 0)",
      number("--presence-penalty", -1e6, 1e6),
    )
    .option("--repeat-last-n <n>", "tokens the penalties look at (default 64, -1 = all)", (t) =>
      parseInteger(t, "--repeat-last-n", -1, most),
    )
    .option("--logit-bias <id=bias>", "add to a token's logit, -inf bans it (repeatable)", collectBias)
    .option("--seed <n>", "same seed, same text (default: random)", (t) => parseInteger(t, "--seed", 0))
    .option("--stop <text>", "end before this text (repeatable)", (t, all: string[] = []) => [...all, t])
    .option("--ignore-eos", "never let the model end by itself");
}

export function generateOptions(flags: SamplingFlags): GenerateOptions {
  return {
    ...(flags.maxTokens !== undefined && { maxTokens: flags.maxTokens }),
    ...(flags.temperature !== undefined && { temperature: flags.temperature }),
    ...(flags.topK !== undefined && { topK: flags.topK }),
    ...(flags.topP !== undefined && { topP: flags.topP }),
    ...(flags.minP !== undefined && { minP: flags.minP }),
    ...(flags.typical !== undefined && { typical: flags.typical }),
    ...(flags.repeatPenalty !== undefined && { repeatPenalty: flags.repeatPenalty }),
    ...(flags.frequencyPenalty !== undefined && { frequencyPenalty: flags.frequencyPenalty }),
    ...(flags.presencePenalty !== undefined && { presencePenalty: flags.presencePenalty }),
    ...(flags.repeatLastN !== undefined && { penaltyLastTokens: flags.repeatLastN }),
    ...(flags.logitBias !== undefined && { logitBias: flags.logitBias }),
    ...(flags.seed !== undefined && { seed: flags.seed }),
    ...(flags.stop !== undefined && { stop: flags.stop }),
    ...(flags.ignoreEos !== undefined && { ignoreEos: flags.ignoreEos }),
  };
}

function collectBias(text: string, all: [number, number][] = []): [number, number][] {
  const [id, bias] = text.split("=");
  const value = bias?.trim().toLowerCase() === "-inf" ? -Infinity : Number(bias?.trim() === "" ? undefined : bias);
  if (bias === undefined || Number.isNaN(value) || value === Infinity) {
    throw new HundredweightError("OPTION_INVALID", `--logit-bias: '${text}' is not like 123=-2.5 or 123=-inf`);
  }
  return [...all, [parseInteger(id!, "--logit-bias", 0, most), value]];
}
