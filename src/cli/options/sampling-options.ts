/** Options of `run` and `chat` that shape an answer. The names are llama.cpp's. */
import { type Command, Option } from "commander";
import { HundredweightError } from "../../errors.js";
import type { GenerateOptions } from "../../library/generation.js";
import { readTextSync } from "../../regular-file.js";
import type { Constraint } from "../../sampling/constraint/source.js";
import {
  type NumericSetting,
  type SamplerName,
  type SamplingSettings,
  samplerLetters,
  samplerNames,
  samplersOfLetters,
  samplingRanges,
} from "../../sampling/settings.js";
import { parseChoice, parseInteger, parseNumber } from "./options.js";

export interface SamplingFlags extends Partial<Record<NumericSetting, number>> {
  maxTokens?: number;
  samplers?: SamplerName[];
  drySequenceBreaker?: string[];
  logitBias?: [number, number][];
  stop?: string[];
  ignoreEos?: boolean;
  constraint?: Constraint;
}

const most = 2 ** 31 - 1;

/** Options that are one number: flags, setting, help. */
const numbers: readonly (readonly [flags: string, setting: NumericSetting, help: string])[] = [
  ["--temperature <t>", "temperature", "0 = greedy (default 0.8)"],
  ["--dynatemp-range <t>", "dynamicTemperatureRange", "temperature varies so far with the entropy (default 0 = off)"],
  ["--dynatemp-exp <x>", "dynamicTemperatureExponent", "how entropy maps to that temperature (default 1)"],
  ["--top-k <k>", "topK", "keep the k best (default 40, 0 = off)"],
  ["--top-p <p>", "topP", "keep the best that reach p together (default 0.95, 1 = off)"],
  ["--min-p <p>", "minP", "keep those p times as likely as the best (default 0.05, 0 = off)"],
  ["--typical <p>", "typical", "locally typical sampling (default 1 = off)"],
  ["--top-n-sigma <n>", "topNSigma", "keep logits within n standard deviations of the best (default -1 = off)"],
  ["--xtc-probability <p>", "xtcProbability", "how often the likeliest tokens are left out (default 0 = off)"],
  ["--xtc-threshold <p>", "xtcThreshold", "... all but the last at least so likely (default 0.1)"],
  ["--min-keep <n>", "minKeep", "candidates that top-p, min-p, typical and XTC leave at least (default 0)"],
  ["--repeat-penalty <x>", "repeatPenalty", "divide the logits of repeated tokens (default 1)"],
  ["--frequency-penalty <x>", "frequencyPenalty", "subtract for each repetition (default 0)"],
  ["--presence-penalty <x>", "presencePenalty", "subtract once when repeated (default 0)"],
  ["--repeat-last-n <n>", "penaltyLastTokens", "tokens the penalties look at (default 64, -1 = all)"],
  ["--dry-multiplier <x>", "dryMultiplier", "penalty of tokens that lengthen a repetition (default 0 = off)"],
  ["--dry-base <x>", "dryBase", "... its growth with every token of length (default 1.75)"],
  ["--dry-allowed-length <n>", "dryAllowedLength", "... repetitions up to this length are free (default 2)"],
  ["--dry-penalty-last-n <n>", "dryPenaltyLastTokens", "tokens that are searched (default 64, -1 = all)"],
  ["--mirostat <n>", "mirostat", "Mirostat 1 or 2 in place of the other samplers (default 0 = off)"],
  ["--mirostat-ent <tau>", "mirostatTau", "surprise Mirostat aims at, in bits (default 5)"],
  ["--mirostat-lr <eta>", "mirostatEta", "learning rate of Mirostat (default 0.1)"],
  ["--seed <n>", "seed", "same seed, same text (default: random)"],
];

/** llama.cpp's other names for them: accepted, not shown. */
const aliases: readonly (readonly [flag: string, setting: NumericSetting])[] = [
  ["--temp", "temperature"],
  ["--top-nsigma", "topNSigma"],
  ["--typical-p", "typical"],
];

/** The samplers' settings alone: for a server, whose requests may say otherwise. */
export function addSamplingDefaults(command: Command): Command {
  for (const [flags, setting, help] of numbers) command.addOption(numberOption(flags, setting, help));
  for (const [flag, setting] of aliases) command.addOption(numberOption(`${flag} <n>`, setting).hideHelp());
  return command.addOption(samplersOption()).addOption(samplerSequence("--sampling-seq"));
}

/** Takes what was given of them. */
export function samplingDefaults(
  flags: Partial<Record<NumericSetting, number>> & { readonly samplers?: readonly SamplerName[] },
): Partial<SamplingSettings> {
  const found: Partial<Record<NumericSetting, number>> = {};
  for (const [, setting] of numbers) if (flags[setting] !== undefined) found[setting] = flags[setting];
  // llama.cpp's -1: a seed of its own for every answer.
  if (found.seed !== undefined && found.seed < 0) delete found.seed;
  return { ...found, ...(flags.samplers !== undefined && { samplers: flags.samplers }) };
}

export function addSamplingOptions(command: Command): Command {
  command.option("-n, --max-tokens <n>", "most tokens to generate (default 512, -1 = until the context is full)", (t) =>
    parseInteger(t, "--max-tokens", -1, most),
  );
  for (const [flags, setting, help] of numbers) command.addOption(numberOption(flags, setting, help));
  for (const [flag, setting] of aliases) command.addOption(numberOption(`${flag} <n>`, setting).hideHelp());
  return command
    .option(
      "--dry-sequence-breaker <text>",
      "no repetition is seen across this text (repeatable; default \\n : \" *; 'none' = no breakers)",
      collectBreakers,
    )
    .addOption(samplersOption())
    .addOption(samplerSequence("--sampling-seq"))
    .addOption(samplerSequence("--sampler-seq").hideHelp())
    .option("--logit-bias <id=bias>", "add to a token's logit, -inf bans it (repeatable)", collectBias)
    .option("--stop <text>", "end before this text (repeatable)", (t, all: string[] = []) => [...all, t])
    .option("--ignore-eos", "never let the model end by itself")
    .addOption(constraintOption("-j, --json-schema <json>", "the answer is JSON by this schema", schemaOf))
    .addOption(
      constraintOption("--json-schema-file <file>", "... by the schema in this file", (t) => schemaOf(readTextSync(t))),
    )
    .addOption(constraintOption("--grammar <text>", "the answer is a text of this grammar (GBNF)", grammarOf))
    .addOption(
      constraintOption("--grammar-file <file>", "... of the grammar in this file", (t) => grammarOf(readTextSync(t))),
    );
}

/** The options that say what an answer has to look like; one of them, not several. */
function constraintOption(flags: string, help: string, parse: (text: string) => Constraint): Option {
  const option = new Option(flags, help);
  option.attributeName = () => "constraint";
  return option.argParser((text: string, before?: Constraint) => {
    if (before === undefined) return parse(text);
    throw new HundredweightError("OPTION_INVALID", "--json-schema, --grammar: one of them, once");
  });
}

function schemaOf(text: string): Constraint {
  try {
    return { kind: "json_schema", schema: JSON.parse(text) };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new HundredweightError("OPTION_INVALID", `--json-schema: the schema is not JSON: ${reason}`);
  }
}

function grammarOf(grammar: string): Constraint {
  return { kind: "gbnf", grammar };
}

function numberOption(flags: string, setting: NumericSetting, help?: string): Option {
  const name = flags.split(" ", 1)[0]!;
  const [min, max, whole] = samplingRanges[setting];
  const option = new Option(flags, help).argParser((t) => (whole ? parseInteger : parseNumber)(t, name, min, max));
  option.attributeName = () => setting;
  return option;
}

function samplersOption(): Option {
  const help = `samplers in their order, separated by ; (default ${samplerNames.join(";")})`;
  return new Option("--samplers <names>", help).argParser((t: string) =>
    t.split(";").map((name) => parseChoice(name.trim(), "--samplers", samplerNames)),
  );
}

function samplerSequence(flag: string): Option {
  const option = new Option(`${flag} <letters>`, `the same by letters (default ${samplerLetters})`);
  option.attributeName = () => "samplers";
  return option.argParser(samplersOfLetters);
}

export function generateOptions(flags: SamplingFlags): GenerateOptions {
  const numeric: Partial<Record<NumericSetting, number>> = {};
  for (const [, setting] of numbers) if (flags[setting] !== undefined) numeric[setting] = flags[setting];
  return {
    ...numeric,
    ...(flags.maxTokens !== undefined && { maxTokens: flags.maxTokens }),
    ...(flags.samplers !== undefined && { samplers: flags.samplers }),
    ...(flags.drySequenceBreaker !== undefined && { drySequenceBreakers: flags.drySequenceBreaker }),
    ...(flags.logitBias !== undefined && { logitBias: flags.logitBias }),
    ...(flags.stop !== undefined && { stop: flags.stop }),
    ...(flags.ignoreEos !== undefined && { ignoreEos: flags.ignoreEos }),
    ...(flags.constraint !== undefined && { constraint: flags.constraint }),
  };
}

/** A shell passes no line feeds easily: `\n`, `\t` and the like stand for what they mean. */
function collectBreakers(text: string, all: string[] = []): string[] {
  if (text === "none") return [];
  const meaning: Record<string, string> = { n: "\n", r: "\r", t: "\t" };
  return [...all, text.replace(/\\([nrt'"\\])/g, (_, c: string) => meaning[c] ?? c)];
}

function collectBias(text: string, all: [number, number][] = []): [number, number][] {
  const [id, bias] = text.split("=");
  const value = bias?.trim().toLowerCase() === "-inf" ? -Infinity : Number(bias?.trim() === "" ? undefined : bias);
  if (bias === undefined || Number.isNaN(value) || value === Infinity) {
    throw new HundredweightError("OPTION_INVALID", `--logit-bias: '${text}' is not like 123=-2.5 or 123=-inf`);
  }
  return [...all, [parseInteger(id!, "--logit-bias", 0, most), value]];
}
