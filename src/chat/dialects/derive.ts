/**
 * Works out from a rendered call how a template that is not known writes calls. The call has a name, a key and a value
 * that occur nowhere else, so what stands between them is the template's.
 */
import { isJson } from "./json-text.js";
import type { CallForm, Dialect, Piece } from "./types.js";

export interface CallSample {
  /** The assistant's turn with the call, from behind its header to before its end. */
  readonly call: string;
  readonly name: string;
  readonly key: string;
  readonly value: string;
}

/** Pairs of marks around thinking that models without a row have. */
const knownThinking: readonly (readonly [open: string, close: string])[] = [
  ["[THINK]", "[/THINK]"],
  ["<seed:think>", "</seed:think>"],
  ["<|START_THINKING|>", "<|END_THINKING|>"],
  ["<thought>", "</thought>"],
  ["<thinking>", "</thinking>"],
  ["<reasoning>", "</reasoning>"],
  ["<reason>", "</reason>"],
  ["<|begin_of_thought|>", "<|end_of_thought|>"],
  ["◁think▷", "◁/think▷"],
  ["<unused94>", "<unused95>"],
];
const knownAnswers: readonly (readonly [open: string, close: string])[] = [
  ["<answer>", "</answer>"],
  ["<response>", "</response>"],
  ["<|begin_of_solution|>", "<|end_of_solution|>"],
];

/** A dialect without calls: marks around thinking and answer as far as the template names them. */
export function plainDialect(template: string): Dialect {
  const thinking = knownThinking.filter(([, close]) => template.includes(close));
  const answer = knownAnswers.find(([open, close]) => template.includes(open) && template.includes(close));
  return {
    name: "plain",
    models: "",
    signs: [],
    thinking: [...thinking, ["<think>", "</think>"]],
    ...(answer !== undefined && { answer }),
    forms: [],
  };
}

/** @returns undefined when no rule can be seen */
export function deriveForm(sample: CallSample): CallForm | undefined {
  return jsonForm(sample) ?? namedForm(sample) ?? taggedForm(sample);
}

/**
 * Cuts the assistant's words out of a conversation with a call, by the side of one in which they are a text.
 * @param before what the user said last before them, in both
 */
export function cutCall(withCall: string, withText: string, text: string, before: string): string | undefined {
  const at = withText.indexOf(text);
  const from = withText.lastIndexOf(before, at) + before.length;
  if (at < 0 || from < before.length) return undefined;
  const header = withText.slice(from, at).trimEnd();
  const turn = withCall.slice(withCall.indexOf(before) + before.length);
  if (!turn.startsWith(header)) return undefined;
  const said = turn.slice(header.length);
  // The mark that ends a turn.
  const end = withText
    .slice(at + text.length)
    .trim()
    .split(/[\s\w]/)[0]!;
  const to = end === "" ? said.length : said.indexOf(end);
  return to < 0 ? said : said.slice(0, to);
}

/** Name and arguments in one JSON object, or in a list of them. */
function jsonForm({ call, name, value }: CallSample): CallForm | undefined {
  for (let from = call.search(/[[{]/); from >= 0 && from < call.indexOf(name); from = next(call, from)) {
    const text = balanced(call, from);
    if (text === undefined || !text.includes(name) || !text.includes(value)) continue;
    let parsed: unknown;
    try {
      parsed = JSON.parse(text);
    } catch {
      continue;
    }
    const list = Array.isArray(parsed);
    const keys = keysOf(list ? (parsed as unknown[])[0] : parsed, name);
    if (keys === undefined) continue;
    return framed(call.slice(0, from), { is: list ? "list" : "object", ...keys }, call.slice(from + text.length));
  }
  return undefined;
}

function next(text: string, from: number): number {
  const at = text.slice(from + 1).search(/[[{]/);
  return at < 0 ? -1 : from + 1 + at;
}

function keysOf(value: unknown, name: string): { name: string; arguments: string } | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const members = Object.entries(value);
  const named = members.find(([, member]) => member === name)?.[0];
  const inner = members.find(([, member]) => typeof member === "object" && member !== null);
  if (named !== undefined && inner !== undefined) return { name: named, arguments: inner[0] };
  return inner === undefined ? undefined : keysOf(inner[1], name);
}

/** The name, then the arguments as one JSON object. */
function namedForm({ call, name, value }: CallSample): CallForm | undefined {
  const at = call.indexOf(name);
  const from = call.indexOf("{", at + name.length);
  const text = from < 0 ? undefined : balanced(call, from);
  if (at < 0 || text === undefined || !text.includes(value) || !isJson(text)) return undefined;
  const open = call.slice(0, at);
  if (open.trim() === "") return undefined;
  const middle = call.slice(at + name.length, from);
  return {
    call: texts([open, { is: "name" }, middle, { is: "json" }, call.slice(from + text.length)]),
    separator: "\n",
  };
}

/** The name, then a key and its value between tags. */
function taggedForm({ call, name, key, value }: CallSample): CallForm | undefined {
  const at = call.indexOf(name);
  const keyAt = call.indexOf(key, at + name.length);
  const valueAt = call.indexOf(value, keyAt + key.length);
  if (at <= 0 || keyAt < 0 || valueAt < 0) return undefined;
  const middle = call.slice(at + name.length, keyAt);
  const open = middle.lastIndexOf("<");
  const between = call.slice(keyAt + key.length, valueAt);
  const rest = call.slice(valueAt + value.length);
  const close = /^\s*<[^>]*>\n?/.exec(rest)?.[0];
  if (open < 0 || close === undefined || between.trim() === "" || call.slice(0, at).trim() === "") return undefined;
  const params: Piece = { is: "params", open: [middle.slice(open), { is: "key" }, between], close };
  return {
    call: texts([call.slice(0, at), { is: "name" }, middle.slice(0, open), params, rest.slice(close.length)]),
    separator: "\n",
  };
}

function framed(open: string, piece: Piece, close: string): CallForm {
  return { call: texts([open, piece, close]), separator: "\n", ...(open.trim() === "" && { bare: true }) };
}

function texts(pieces: readonly Piece[]): Piece[] {
  return pieces
    .map((piece, i) => (typeof piece === "string" ? (i === 0 ? piece.trimStart() : piece) : piece))
    .filter((piece) => piece !== "")
    .map((piece, i, all) => (i === all.length - 1 && typeof piece === "string" ? piece.trimEnd() : piece))
    .filter((piece) => piece !== "");
}

/** The JSON text that begins here, by its brackets. */
function balanced(text: string, from: number): string | undefined {
  let depth = 0;
  let quoted = false;
  for (let i = from; i < text.length; i++) {
    const c = text[i]!;
    if (c === "\\" && quoted) i++;
    else if (c === '"') quoted = !quoted;
    else if (!quoted && (c === "{" || c === "[")) depth++;
    else if (!quoted && (c === "}" || c === "]") && --depth === 0) return text.slice(from, i + 1);
  }
  return undefined;
}
