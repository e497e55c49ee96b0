/**
 * `/set parameter` in a conversation: the options of the command line, under their names there, in Ollama and in
 * llama.cpp.
 */
import { Command } from "commander";
import { HundredweightError } from "../../errors.js";
import { addSamplingOptions, type SamplingFlags } from "../options/sampling-options.js";

/** Ollama's names for our settings. */
const ollama: Readonly<Record<string, string>> = {
  "num-predict": "max-tokens",
  "mirostat-tau": "mirostat-ent",
  "mirostat-eta": "mirostat-lr",
};

/** Decided when the model is loaded. */
const fixed = new Set(["ctx", "num-ctx", "memory", "threads", "num-thread", "kv", "chunk", "num-batch"]);

/**
 * @param words the name, then its values: `temperature 0.5`, `stop "###" "END"`
 * @returns the flags with the change
 * @throws OPTION_INVALID
 */
export function setParameter(flags: SamplingFlags, words: readonly string[]): SamplingFlags {
  const [word = "", ...values] = words;
  const name = word.replace(/^-+/, "").replaceAll("_", "-").toLowerCase();
  if (fixed.has(name))
    throw new HundredweightError("OPTION_INVALID", `${word} is decided at the start: leave, and start again with it`);
  const command = addSamplingOptions(new Command());
  const wanted = `--${ollama[name] ?? name}`;
  const option = command.options.find(({ long, short }) => long === wanted || short === `-${name}`);
  if (option === undefined)
    throw new HundredweightError("OPTION_INVALID", `there is no parameter '${word}'; /set parameter lists them`);
  const key = option.attributeName();
  if (option.isBoolean()) return { ...flags, [key]: values[0] !== "false" };
  if (values.length === 0) throw new HundredweightError("OPTION_INVALID", `/set parameter ${word} needs a value`);
  const parse = option.parseArg as ((text: string, before: unknown) => unknown) | undefined;
  let value: unknown;
  for (const text of values) value = parse === undefined ? text : parse(text, value);
  return { ...flags, [key]: value };
}

/** Names a person can set. */
export function parameterNames(): string[] {
  return addSamplingOptions(new Command())
    .options.filter(({ hidden }) => !hidden)
    .map(({ long }) => (long ?? "").slice(2));
}

/** `temperature 0.5`, one a line; `default` when nothing was set. */
export function shownParameters(flags: SamplingFlags): string {
  const command = addSamplingOptions(new Command());
  const lines = command.options
    .filter(({ hidden }) => !hidden)
    .map(
      (option) => [(option.long ?? "").slice(2), (flags as Record<string, unknown>)[option.attributeName()]] as const,
    )
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${name} ${typeof value === "object" ? JSON.stringify(value) : value}`);
  return lines.length === 0 ? "as the model's file and the defaults say" : lines.join("\n");
}

/** Words of a line; quotes keep white space together. */
export function wordsOf(text: string): string[] {
  return [...text.matchAll(/"([^"]*)"|'([^']*)'|(\S+)/g)].map(
    ([, double, single, plain]) => double ?? single ?? plain!,
  );
}

/** `"text"` -> text. */
export function unquoted(text: string): string {
  return /^(["']).*\1$/s.test(text) && text.length > 1 ? text.slice(1, -1) : text;
}
