/** A command line of llama-server as one of `serve`: the same names, obeyed or explained. */
import { HundredweightError } from "../../errors.js";
import { parseKv } from "./kv-option.js";
import { type LlamaOption, llamaOptions } from "./llama-options.js";
import { parseInteger } from "./options.js";

export interface OwnArguments {
  readonly args: readonly string[];
  /** Lines for stderr: options that mean nothing here, and why. */
  readonly notes: readonly string[];
}

/** Options whose values are only understood together. */
const together = {
  "-m": "model",
  "--model": "model",
  "-c": "context",
  "--ctx-size": "context",
  "-np": "parallel",
  "--parallel": "parallel",
  "-b": "batch",
  "--batch-size": "batch",
  "-ub": "pass",
  "--ubatch-size": "pass",
  "-ctk": "keys",
  "--cache-type-k": "keys",
  "-ctv": "values",
  "--cache-type-v": "values",
} as const;

type Together = Partial<Record<(typeof together)[keyof typeof together], string>> & { unified?: boolean };

const byName = new Map<string, LlamaOption>(llamaOptions.flatMap((option) => option.names.map((n) => [n, option])));

/**
 * Translates the arguments behind `serve`; what is not llama-server's stays as it is.
 * @throws OPTION_INVALID for an option that would change answers and cannot be obeyed, or has no value
 */
export function ownArguments(given: readonly string[]): OwnArguments {
  const args: string[] = [];
  const notes: string[] = [];
  const some: Together = {};
  const words = [...given];
  for (let word = words.shift(); word !== undefined; word = words.shift()) {
    const [name, inline] = split(word);
    const next = (): string => {
      const value = inline ?? words.shift();
      if (value === undefined) throw new HundredweightError("OPTION_INVALID", `${name}: a value is missing`);
      return value;
    };
    if (Object.hasOwn(together, name)) {
      some[together[name as keyof typeof together]] = next();
      continue;
    }
    if (/^(-kvu|--kv-unified|-no-kvu|--no-kv-unified)$/.test(name)) {
      some.unified = !name.includes("no-");
      continue;
    }
    const option = byName.get(name);
    if (option === undefined) {
      args.push(word);
      continue;
    }
    const value = option.takes === 1 ? next() : option.takes === 0 ? "" : onOff(inline, words);
    if (option.refused !== undefined) throw new HundredweightError("OPTION_INVALID", `${name}: ${option.refused}`);
    if (option.why !== undefined) notes.push(`${name} has no effect: ${option.why}`);
    args.push(...(option.becomes?.(value) ?? []));
  }
  return { args: [...args, ...argsOf(some)], notes };
}

/** `--name=value`, of long names. */
function split(word: string): [name: string, value: string | undefined] {
  const at = word.startsWith("--") ? word.indexOf("=") : -1;
  return at < 0 ? [word, undefined] : [word.slice(0, at), word.slice(at + 1)];
}

function onOff(inline: string | undefined, words: string[]): string {
  if (inline !== undefined) return inline;
  return /^(on|off|auto|[01]|true|false|enabled|disabled)$/.test(words[0] ?? "") ? words.shift()! : "";
}

function argsOf({ model, context, parallel, unified, batch, pass, keys, values }: Together): string[] {
  const args: string[] = [];
  if (model !== undefined) args.push(model);
  // llama-server's -1: it chooses itself, and all share one cache.
  const places = parallel === undefined ? -1 : parseInteger(parallel, "--parallel", -1, 1024);
  if (places === 0) throw new HundredweightError("OPTION_INVALID", "--parallel: '0' is not a whole number from 1 on");
  if (places > 0) args.push("--parallel", String(places));
  if (context !== undefined) {
    const total = parseInteger(context, "--ctx-size", 0, 2 ** 27);
    const shared = unified ?? places < 0;
    // The whole context is divided among the places unless they share it.
    const each = shared ? total : Math.max(1, Math.floor(total / Math.max(1, places)));
    if (total > 0) args.push("--ctx", String(each), "--kv-tokens", String(total));
  }
  if (batch !== undefined) args.push("--infill-tokens", batch);
  const rows = [batch, pass].flatMap((text) => (text === undefined ? [] : [parseInteger(text, "--batch-size", 1)]));
  if (rows.length > 0) args.push("--chunk", String(Math.min(65536, ...rows)));
  if (keys !== undefined || values !== undefined) {
    // What is not named is f16 in llama-server.
    args.push("--kv", parseKv(`${keys ?? "f16"}:${values ?? "f16"}`, "-ctk, -ctv"));
  }
  return args;
}
