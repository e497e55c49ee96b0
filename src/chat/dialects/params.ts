/** Reads arguments that stand one by one between marks, each as raw text, and makes one JSON object of them. */
import { beginningAtEnd, type Input, type Reading } from "./input.js";
import type { Write } from "./json-text.js";
import { kindOfArgument, rawValue, type ValueKind } from "./schema-kind.js";
import type { Params, ToolShape } from "./types.js";

const mostKeyLength = 256;

/**
 * @param after what may stand behind the last argument
 * @returns "cut" when the text ended inside a value
 */
export function* readParams(
  input: Input,
  piece: Params,
  tool: ToolShape | undefined,
  after: readonly string[],
  write: Write,
): Reading<"" | "cut"> {
  write("{");
  for (let first = true; ; first = false) {
    const opened = yield* openParam(input, piece);
    if (opened === undefined) break;
    const { key, kind } = opened;
    write(`${first ? "" : ", "}${JSON.stringify(key)}: `);
    const typed = piece.textKind === undefined ? kindOfArgument(tool?.parameters, key) : kindByMark(kind, piece);
    if ((yield* readValue(input, piece, typed, [...after, piece.open[0] as string], write)) === "cut") return "cut";
  }
  write("}");
  return "";
}

function kindByMark(kind: string, { textKind }: Params): ValueKind {
  return kind === textKind ? "text" : "json";
}

/** Takes what stands before a value. @returns undefined, and nothing taken, when no argument begins here */
function* openParam(input: Input, piece: Params): Reading<{ key: string; kind: string } | undefined> {
  const found = { key: "", kind: "" };
  let n = 0;
  for (const [i, part] of piece.open.entries()) {
    if (typeof part === "string") {
      const length = yield* input.matches(part, n);
      if (length < 0) return undefined;
      n += length;
      continue;
    }
    const next = (piece.open[i + 1] as string).trim();
    const from = n;
    while ((yield* input.matches(next, n)) < 0) {
      if ((yield* input.peek(n)) === "" || n - from > mostKeyLength) return undefined;
      n++;
    }
    found[part.is] = input.text.slice(input.at + from, input.at + n).trim();
  }
  input.at += n;
  return found.key === "" ? undefined : found;
}

/**
 * Passes a value on: a text while it is written, any other when it is whole. A closing mark inside a text is told from
 * the real one by what follows it.
 */
function* readValue(
  input: Input,
  piece: Params,
  kind: ValueKind,
  next: readonly string[],
  write: Write,
): Reading<"" | "cut"> {
  const close = piece.close.trim();
  // Line feeds that belong to the marks.
  const before = lastText(piece).endsWith("\n") ? "\n" : "";
  const behind = piece.close.startsWith("\n") ? "\n" : "";
  const live = kind === "text" && piece.quotes === undefined;
  let raw = "";
  const add = (text: string): void => {
    if (live) write(JSON.stringify(text).slice(1, -1));
    else raw += text;
  };
  if (live) write('"');
  if (before !== "" && (yield* input.peek()) === before) input.at++;
  for (;;) {
    const at = input.text.indexOf(close, input.at);
    if (at < 0) {
      const keep = beginningAtEnd(input.text, [behind + close, close], input.at);
      const end =
        input.text.length - (input.ended ? 0 : Math.max(keep, behind !== "" && input.text.endsWith("\n") ? 1 : 0));
      if (end > input.at) add(wellFormed(input, end));
      if (input.ended) {
        if (!live) write(raw.trim());
        return "cut";
      }
      yield;
      continue;
    }
    const ahead = at - input.at;
    if (yield* closes(input, ahead + close.length, next)) {
      const text = input.take(ahead);
      add(behind !== "" && text.endsWith(behind) ? text.slice(0, -1) : text);
      input.at += close.length;
      write(live ? '"' : rawValue(unquoted(raw, piece), kind));
      return "";
    }
    add(input.take(ahead + close.length));
  }
}

function unquoted(raw: string, { quotes }: Params): string {
  const text = raw.trim();
  if (quotes === undefined || !text.startsWith(quotes[0]) || !text.endsWith(quotes[1])) return raw;
  return text.slice(quotes[0].length, -quotes[1].length);
}

/** No half of a surrogate pair is passed on alone. */
function wellFormed(input: Input, end: number): string {
  const last = input.text.charCodeAt(end - 1);
  const half = last >= 0xd800 && last <= 0xdbff && !input.ended;
  return input.take(end - input.at - (half ? 1 : 0));
}

function* closes(input: Input, ahead: number, next: readonly string[]): Reading<boolean> {
  const space = yield* input.spaceFrom(ahead);
  if ((yield* input.peek(ahead + space)) === "") return true;
  for (const mark of next) if (mark.trim() !== "" && (yield* input.matches(mark, ahead)) >= 0) return true;
  return false;
}

function lastText({ open }: Params): string {
  const last = open.at(-1);
  return typeof last === "string" ? last : "";
}
