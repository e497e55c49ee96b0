/**
 * Reads files of answers, as a batch writes them, and tells lines of ours, ends that were torn off, and what is
 * something else.
 */
import { fstatSync } from "node:fs";
import { HundredweightError } from "../errors.js";
import { isObject } from "../json-object.js";
import type { LineIndex } from "./line-index.js";
import { type Line, readLines } from "./lines.js";
import { isFailure, maxAnswerBytes } from "./output.js";
import { readRequest } from "./request.js";

export interface JournalFile {
  readonly size: number;
  /** Where lines that are whole end. */
  readonly goodBytes: number;
  readonly failed: number;
}

/**
 * Looks at the whole file before anything of it is touched.
 * @param heard is told each answer that fits the input; a text that it returns says why this one does not fit
 * @throws OPTION_INVALID when the file holds something else or answers to something else; FILE_IO
 */
export async function readAnswers(
  fd: number,
  name: string,
  index: LineIndex,
  heard: (answer: JournalLine, at: Line) => string | undefined,
): Promise<JournalFile> {
  const size = fstatSync(fd).size;
  let goodBytes = size;
  let failed = 0;
  let good = 0;
  let torn: Line | undefined;
  let wrong: Mismatch | undefined;
  for await (const line of readLines(fd, name, maxAnswerBytes)) {
    const answer = answerIn(line);
    if (answer === undefined || answer === "no JSON") {
      if (answer === undefined || !isTorn(line, good > 0)) throw foreign(name, line, good);
      torn ??= line;
    } else if (torn !== undefined) {
      // Zeros are what a loss of power leaves: what follows them was not synced either.
      if (!torn.bytes!.includes(0))
        throw new HundredweightError(
          "OPTION_INVALID",
          `${name}: line ${torn.number} is damaged; delete it and its answer is made again`,
        );
    } else {
      good++;
      if (answer.failed) failed++;
      const why = mismatch(answer, index) ?? heard(answer, line);
      if (why !== undefined && !(wrong !== undefined && wrong.line <= answer.line)) wrong = { line: answer.line, why };
    }
  }
  if (wrong !== undefined)
    throw new HundredweightError(
      "OPTION_INVALID",
      `${name} belongs to another input: ${wrong.why}; choose another name for the output`,
    );
  if (torn !== undefined) goodBytes = torn.start;
  return { size, goodBytes, failed };
}

export interface JournalLine {
  readonly line: number;
  readonly customId: string | null;
  /** Undefined: written before hashes were. */
  readonly hash: Buffer | undefined;
  readonly failed: boolean;
}

interface Mismatch {
  readonly line: number;
  readonly why: string;
}

/** For people. */
export const nameOf = ({ line, customId }: Pick<JournalLine, "line" | "customId">): string =>
  customId === null ? `line ${line}` : `'${customId.slice(0, 100)}'`;

function mismatch({ line, customId, hash }: JournalLine, index: LineIndex): string | undefined {
  const id = nameOf({ line, customId });
  if (!index.has(line)) return `it answers line ${line}, ${id}, which the input does not have`;
  if (!index.hasId(line, customId)) return `line ${line} was ${id}, and has another custom_id now`;
  if (hash !== undefined && !index.hasHash(line, hash)) return `${id} (line ${line}) asked something else`;
  return undefined;
}

/** Undefined: JSON of another kind. */
function answerIn({ bytes }: Line): JournalLine | "no JSON" | undefined {
  let value: unknown;
  try {
    value = JSON.parse(bytes?.toString("utf8") ?? "");
  } catch {
    return "no JSON";
  }
  if (!isObject(value)) return undefined;
  const line = /^batch_req_(\d{1,15})$/.exec(String(value.id))?.[1];
  const { custom_id: customId, request_hash: hash, response, error } = value;
  if (line === undefined || (typeof customId !== "string" && customId !== null)) return undefined;
  if (!(isObject(response) || response === null) || !(isObject(error) || error === null)) return undefined;
  return {
    line: Number(line),
    customId,
    hash: typeof hash === "string" ? Buffer.from(hash, "hex") : undefined,
    failed: isFailure({ response, error } as Parameters<typeof isFailure>[0]),
  };
}

const beginning = Buffer.from('{"id":"batch_req_');
const beyondNumber = Buffer.from('","custom_id":');

/**
 * Whether a line may be what is left of one of ours.
 * @param known whether lines of ours come before it: only then are a few bytes, or zeros, evidence
 */
function isTorn({ bytes, ended }: Line, known: boolean): boolean {
  if (bytes === undefined) return false;
  if (known && (bytes[0] === 0 || (!ended && beginning.subarray(0, bytes.length).equals(bytes)))) return true;
  if (!bytes.subarray(0, beginning.length).equals(beginning)) return false;
  let at = beginning.length;
  while (at < bytes.length && bytes[at]! >= 0x30 && bytes[at]! <= 0x39) at++;
  if (at === beginning.length && at < bytes.length && bytes[at] !== 0) return false;
  // As far as it is there.
  for (const expected of beyondNumber) {
    if (at >= bytes.length || bytes[at] === 0) return true;
    if (bytes[at++] !== expected) return false;
  }
  return true;
}

function foreign(name: string, line: Line, good: number): HundredweightError {
  const first = good === 0;
  const { request } = readRequest(line);
  const what =
    first && "url" in request
      ? `${name} holds requests, not answers (are the two names swapped?)`
      : `${name} holds something else than answers of a batch (line ${line.number})`;
  return new HundredweightError("OPTION_INVALID", `${what}; it is left as it is, choose another name for the output`);
}
