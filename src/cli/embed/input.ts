/** Texts to be embedded: lines of files or of standard input, lines of JSON, or whole files. */
import { createReadStream } from "node:fs";
import { readFile } from "node:fs/promises";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { fileError, HundredweightError } from "../../errors.js";
import { isObject } from "../../json-object.js";

export interface InputText {
  readonly text: string | readonly number[];
  /** Comes back in the answer's line, so that its text is found again. */
  readonly id?: unknown;
}

export interface InputOptions {
  /** Each file is one text. */
  readonly whole: boolean;
  /**
   * Lines are JSON: a text, a list of token ids, or an object with one of these as `text` or `input` and perhaps an
   * `id`.
   */
  readonly jsonl: boolean;
  /** Stands before every text. */
  readonly prefix: string;
}

/** A line of more is no text that any model takes. */
const mostLineLength = 64 * 2 ** 20;

/**
 * Without files, and for `-`, standard input. Blank lines are left out.
 * @throws FILE_*, OPTION_INVALID naming file and line
 */
export async function* inputTexts(files: readonly string[], options: InputOptions): AsyncGenerator<InputText> {
  for (const file of files.length === 0 ? ["-"] : files) {
    const name = file === "-" ? "standard input" : file;
    if (options.whole) yield { text: options.prefix + (await wholeText(file, name)), id: file };
    else yield* lines(file === "-" ? process.stdin : createReadStream(file), name, options);
  }
}

async function wholeText(file: string, name: string): Promise<string> {
  try {
    if (file !== "-") return await readFile(file, "utf8");
    const parts: Buffer[] = [];
    for await (const part of process.stdin) parts.push(part as Buffer);
    return Buffer.concat(parts).toString("utf8");
  } catch (error) {
    throw fileError(name, error);
  }
}

async function* lines(stream: Readable, name: string, { jsonl, prefix }: InputOptions): AsyncGenerator<InputText> {
  let number = 0;
  try {
    for await (const line of createInterface({ input: stream, crlfDelay: Number.POSITIVE_INFINITY })) {
      number++;
      if (line.trim() === "") continue;
      if (line.length > mostLineLength) throw wrong(name, number, "is longer than 64 MiB");
      yield jsonl ? parsed(line, prefix, (message) => wrong(name, number, message)) : { text: prefix + line };
    }
  } catch (error) {
    throw error instanceof HundredweightError ? error : fileError(name, error);
  }
}

const wrong = (name: string, line: number, message: string): HundredweightError =>
  new HundredweightError("OPTION_INVALID", `${name}: line ${line} ${message}`, { line });

function parsed(line: string, prefix: string, fault: (message: string) => HundredweightError): InputText {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    throw fault("is no JSON");
  }
  const { text, input, id }: Readonly<Record<string, unknown>> = isObject(value) ? value : { text: value };
  const given = text ?? input;
  const own = id === undefined ? {} : { id };
  if (typeof given === "string") return { text: prefix + given, ...own };
  if (Array.isArray(given) && given.every((token) => Number.isInteger(token) && token >= 0))
    return { text: given as number[], ...own };
  throw fault("has no text: a text, a list of token ids, or an object with one of them as `text` is expected");
}
