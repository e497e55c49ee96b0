/**
 * The meaning of a MODEL word on the command line, one rule for every command: a path that exists; else, for `plan`,
 * `synth` and `bench`, a preset; else, for `run` with one argument, perhaps a prompt for the bundled model; else an
 * error that says where models come from.
 */
import { existsSync, lstatSync } from "node:fs";
import { join } from "node:path";
import { HundredweightError } from "../errors.js";
import { packageRoot } from "../package-root.js";

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

/**
 * The file a word names; no word = the bundled model. What is wrong with a file that exists is said by whoever opens
 * it.
 * @throws FILE_NOT_FOUND, PATH_NOT_UTF8
 */
export function modelFile(word: string | undefined): string {
  if (word === undefined) return bundledModel();
  if (!isPath(word)) throw unknownModel(word);
  return word;
}

export type FileOrPreset = { readonly path: string } | { readonly preset: string };

/**
 * For commands that can do with a model that is not there.
 * @param presets their names
 * @throws FILE_NOT_FOUND, PATH_NOT_UTF8
 */
export function modelOrPreset(word: string, presets: readonly string[]): FileOrPreset {
  if (isPath(word)) return { path: word };
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
 * @throws FILE_NOT_FOUND, PATH_NOT_UTF8
 */
export function runTarget(model: string | undefined, prompt: string | undefined): RunTarget {
  if (model === undefined || prompt !== undefined || isPath(model)) return { path: modelFile(model), prompt };
  if (!/\s/.test(model) && !oneWord.test(model)) throw unknownModel(model);
  const shown = model.length > 40 ? `${model.slice(0, 40)}...` : model;
  return {
    path: bundledModel(),
    prompt: model,
    note: `'${shown}' is no file: it is the prompt, and the bundled demonstration model answers`,
  };
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

function unknownModel(word: string, presets: readonly string[] = []): HundredweightError {
  if (word.includes("\ufffd"))
    return new HundredweightError(
      "PATH_NOT_UTF8",
      `${word}: no such file; U+FFFD stands for bytes that are not UTF-8, which no path can have here: ` +
        "rename the file, or make a link to it (ln -s) with a name in UTF-8",
      { path: word },
    );
  const names = presets.length === 0 ? "" : `, or a preset (${presets.join(", ")})`;
  const plain = /\.gguf$/i.test(word) || /^(\.{0,2}|~)[/\\]/.test(word);
  const reason = plain
    ? "no such file"
    : "no such file, and nothing is downloaded by name: MODEL is the path of a GGUF file on this computer" +
      `${names}; most published models are on Hugging Face as GGUF files too, fetch one with a browser or curl`;
  return new HundredweightError("FILE_NOT_FOUND", `${word}: ${reason}`, { path: word });
}
