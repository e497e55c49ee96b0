/**
 * The meaning of a MODEL word on the command line, one rule for every command: a path that exists; else the name of a
 * model on this computer, whichever program put it there; else, for `plan`, `synth` and `bench`, a preset; else, for
 * `run` with one argument, perhaps a prompt for the bundled model; else an error that says where models come from.
 */
import { existsSync, lstatSync } from "node:fs";
import { join } from "node:path";
import { HundredweightError } from "../errors.js";
import { packageRoot } from "../package-root.js";
import { findLocal, localModels } from "./local/local-models.js";
import { modelPlaces, type Surroundings } from "./local/places.js";
import { nameOf } from "./local/types.js";

/** The demonstration model that comes with the package. @throws FILE_NOT_FOUND */
export function bundledModel(): string {
  const path = join(packageRoot(), "models", "demo.gguf");
  if (!existsSync(path)) {
    throw new HundredweightError(
      "FILE_NOT_FOUND",
      `the bundled demonstration model is missing at ${path}; name a MODEL`,
    );
  }
  return path;
}

export interface NamedModel {
  readonly path: string;
  /** The name it was found by in a store; absent for a path. */
  readonly name?: string;
}

/**
 * The model a word names; no word = the bundled model. What is wrong with a file that exists is said by whoever opens
 * it.
 * @throws FILE_NOT_FOUND, PATH_NOT_UTF8, OPTION_INVALID for a name of several models
 */
export function namedModel(word: string | undefined, system?: Surroundings): NamedModel {
  if (word === undefined) return { path: bundledModel() };
  const found = lookUp(word, system);
  if (found === undefined) throw unknownModel(word);
  return found;
}

/** The file or folder a word names. @throws as `namedModel` */
export function modelFile(word: string | undefined, system?: Surroundings): string {
  return namedModel(word, system).path;
}

export type FileOrPreset = { readonly path: string } | { readonly preset: string };

/**
 * For commands that can do with a model that is not there.
 * @param presets their names
 * @throws as `namedModel`
 */
export function modelOrPreset(word: string, presets: readonly string[], system?: Surroundings): FileOrPreset {
  const found = lookUp(word, system);
  if (found !== undefined) return { path: found.path };
  if (presets.includes(word.split(",", 1)[0]!.trim())) return { preset: word };
  throw unknownModel(word, presets);
}

export interface RunTarget {
  readonly path: string;
  readonly prompt: string | undefined;
  /** For standard error, when a word was taken for a prompt. */
  readonly note?: string;
}

/**
 * A greeting or a question of one word: letters and what ends a sentence. Names of models have digits, dots, dashes or
 * colons.
 */
const oneWord = /^[\p{L}\p{M}]+(?:['’][\p{L}\p{M}]+)*[.!?…。！？]*$/u;

/**
 * The arguments of `run`.
 * @throws as `namedModel`
 */
export function runTarget(model: string | undefined, prompt: string | undefined, system?: Surroundings): RunTarget {
  if (model === undefined || prompt !== undefined) return { path: modelFile(model, system), prompt };
  const found = lookUp(model, system);
  if (found !== undefined) return { path: found.path, prompt };
  if (!/\s/.test(model) && !oneWord.test(model)) throw unknownModel(model);
  const shown = model.length > 40 ? `${model.slice(0, 40)}...` : model;
  return {
    path: bundledModel(),
    prompt: model,
    note: `'${shown}' is no file: it is the prompt, and the bundled demonstration model answers`,
  };
}

/** More than any name has: what is longer is a prompt, and no folder is looked through for it. */
const longestName = 300;

function lookUp(word: string, system: Surroundings | undefined): NamedModel | undefined {
  if (isPath(word)) return { path: word };
  if (word.length > longestName || /[\s\ufffd]/.test(word) || isPlainPath(word)) return undefined;
  const found = findLocal(word, localModels(modelPlaces(system)));
  return found === undefined ? undefined : { path: found.path, name: nameOf(found) };
}

/** True for what exists, and for what the system does not let us look at: opening it says why. */
function isPath(word: string): boolean {
  try {
    lstatSync(word);
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    // A prompt may be longer than a path, or hold a zero byte.
    return code !== "ENOENT" && code !== "ENOTDIR" && !/\s/.test(word);
  }
}

/** Nobody who writes this means anything but a path. */
const isPlainPath = (word: string): boolean => /^(\.{0,2}|~)[/\\]/.test(word);

function unknownModel(word: string, presets: readonly string[] = []): HundredweightError {
  if (word.includes("\ufffd"))
    return new HundredweightError(
      "PATH_NOT_UTF8",
      `${word}: no such file; U+FFFD stands for bytes that are not UTF-8, which no path can have here: ` +
        "rename the file, or make a link to it (ln -s) with a name in UTF-8",
      { path: word },
    );
  if (isPlainPath(word) || /\.gguf$/i.test(word))
    return new HundredweightError("FILE_NOT_FOUND", `${word}: no such file`, { path: word });
  const names = presets.length === 0 ? "" : `, or a preset (${presets.join(", ")})`;
  const message =
    `${word}: no such file, and no model of this name on this computer (\`hundredweight list\` has them)${names}; ` +
    `${howToFetch(word)}`;
  return new HundredweightError("FILE_NOT_FOUND", message, { path: word });
}

/** The command that would fetch what a word seems to name. */
function howToFetch(word: string): string {
  const hub = /^(?:hf\.co\/|huggingface\.co\/)?[\w][\w.-]*\/[\w][\w.-]*(?:@[\w./-]+)?(?::[\w./-]+)?$/.test(word);
  if (hub || /^ollama:[\w./:-]+$/.test(word)) return `\`hundredweight pull ${word}\` fetches it`;
  const plain = /^[\w][\w.-]*(?::[\w.-]+)?$/.test(word);
  return (
    "most published models are on Hugging Face as GGUF files: `hundredweight find WORDS` searches, " +
    `\`hundredweight pull org/name:Q4_K_M\` fetches one${plain ? `, \`pull ollama:${word}\` one of Ollama's` : ""}`
  );
}
