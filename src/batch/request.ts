/** Reads a line of the input: a request, or an error that concerns this line only. */
import { createHash } from "node:crypto";
import { isObject } from "../json-object.js";
import { isSpace, type Line } from "./lines.js";

/** A longer line is no request: it gets an error line and is never held in memory. */
export const maxLineBytes = 8 * 2 ** 20;

/** Objects and lists inside one another in a body, and how many of them there may be: as a server takes them. */
export const maxDepth = 64;
export const maxContainers = 100_000;

export const batchUrls = ["/v1/chat/completions", "/v1/completions", "/v1/embeddings"] as const;

export interface BatchRequest {
  readonly customId: string;
  readonly url: (typeof batchUrls)[number];
  /** The body as it was written: numbers that JavaScript cannot hold reach the server's checks as they are. */
  readonly text: Buffer;
  readonly body: Readonly<Record<string, unknown>>;
}

export interface BadLine {
  readonly customId: string | null;
  readonly fault: string;
}

export interface ReadLine {
  readonly request: BatchRequest | BadLine;
  /** 16 bytes of SHA-256 of the line, without white space between its parts. */
  readonly hash: Buffer;
}

export function readRequest({ bytes, start, end }: Line): ReadLine {
  if (bytes === undefined) {
    const hash = digest(Buffer.from(`a line of ${end - start} bytes`));
    return { request: { customId: null, fault: `the line is longer than ${maxLineBytes} bytes` }, hash };
  }
  const shape = scan(bytes);
  return { request: parse(bytes, shape), hash: digest(shape.compact) };
}

/** A line that came as a text and not out of a file. */
export function readRequestText(number: number, text: string): ReadLine {
  const bytes = Buffer.from(text);
  return readRequest({ number, bytes, start: 0, end: bytes.length, ended: true });
}

const digest = (bytes: Buffer): Buffer => createHash("sha256").update(bytes).digest().subarray(0, 16);

function parse(bytes: Buffer, { depth, containers, members }: Shape): BatchRequest | BadLine {
  const bad = (fault: string): BadLine => ({ customId: customIdIn(bytes, members), fault });
  // One more each: the line around the body.
  if (depth > maxDepth + 1) return bad(`nested deeper than ${maxDepth + 1}`);
  if (containers > maxContainers + 1) return bad(`more than ${maxContainers + 1} objects and lists`);
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (error) {
    if (error instanceof TypeError) return bad("not valid UTF-8");
    return { customId: null, fault: `no JSON: ${(error as Error).message.slice(0, 200)}` };
  }
  if (!isObject(value)) return { customId: null, fault: "a JSON object is expected" };
  const { custom_id: customId, method = "POST", url, body } = value;
  if (typeof customId !== "string" || customId === "")
    return { customId: null, fault: "custom_id: a text is expected" };
  if (method !== "POST") return { customId, fault: "method: POST is expected" };
  const known = batchUrls.find((one) => one === url);
  if (known === undefined) return { customId, fault: `url: one of ${batchUrls.join(", ")} is expected` };
  const place = members.get("body");
  if (!isObject(body) || place === undefined) return { customId, fault: "body: an object is expected" };
  if (body.stream === true) return { customId, fault: "body.stream: a batch line is answered in one piece" };
  return { customId, url: known, text: bytes.subarray(place.from, place.to), body };
}

interface Shape {
  readonly depth: number;
  /** Objects and lists. */
  readonly containers: number;
  /** Where the values of the outermost object lie; of equal names the last, as in JSON.parse. */
  readonly members: ReadonlyMap<string, Span>;
  /** Without white space between the parts. */
  readonly compact: Buffer;
}

interface Span {
  readonly from: number;
  readonly to: number;
}

const quote = 0x22;
const backslash = 0x5c;

/**
 * One look over the bytes, in memory of their size, before anything is made of them: `[[[[` and `[{},{},` parse into
 * much more.
 */
function scan(bytes: Buffer): Shape {
  const compact = Buffer.allocUnsafe(bytes.length);
  const members = new Map<string, Span>();
  let length = 0;
  let depth = 0;
  let deepest = 0;
  let containers = 0;
  let text: Span | undefined;
  let name: Span | undefined;
  let valueFrom = 0;
  const member = (to: number): void => {
    const key = name && parsed(bytes, name);
    if (typeof key === "string") members.set(key, { from: valueFrom, to });
    name = undefined;
  };
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i]!;
    if (isSpace(byte)) continue;
    if (byte === quote) {
      const from = i;
      for (i++; i < bytes.length && bytes[i] !== quote; i++) if (bytes[i] === backslash) i++;
      text = { from, to: Math.min(i + 1, bytes.length) };
      length += bytes.copy(compact, length, from, text.to);
      continue;
    }
    compact[length++] = byte;
    if (byte === 0x7b || byte === 0x5b) {
      containers++;
      deepest = Math.max(deepest, ++depth);
    } else if (byte === 0x7d || byte === 0x5d) {
      if (depth-- === 1) member(i);
    } else if (depth === 1 && byte === 0x3a && name === undefined) {
      name = text;
      valueFrom = i + 1;
    } else if (depth === 1 && byte === 0x2c) member(i);
  }
  return { depth: deepest, containers, members, compact: compact.subarray(0, length) };
}

/** The `custom_id` of a line that is not parsed as a whole. */
function customIdIn(bytes: Buffer, members: Shape["members"]): string | null {
  const place = members.get("custom_id");
  const customId = place && parsed(bytes, place);
  return typeof customId === "string" && customId !== "" ? customId : null;
}

/** A text; anything else may be of any size and depth. */
function parsed(bytes: Buffer, { from, to }: Span): string | undefined {
  const text = bytes.toString("utf8", from, to).trim();
  if (!text.startsWith('"')) return undefined;
  try {
    return JSON.parse(text) as string;
  } catch {
    return undefined;
  }
}

/** Positions an answer of a line may take, a token being 3 bytes or more. An estimate, to plan with. */
export function estimateTokens({ body, url }: BatchRequest, maxTokens: number): number {
  const prompt = Math.ceil(Buffer.byteLength(JSON.stringify(body.messages ?? body.prompt ?? body.input ?? "")) / 3);
  if (url === "/v1/embeddings") return prompt;
  const answer = Number(body.max_completion_tokens ?? body.max_tokens ?? maxTokens);
  return prompt + (answer >= 0 ? answer : maxTokens);
}

/** The body of a line with `more` where it says nothing, or null. */
export function bodyWith({ text, body }: BatchRequest, more: Readonly<Record<string, unknown>>): Buffer {
  const added = Object.entries(more).filter(([key]) => (body[key] ?? null) === null);
  if (added.length === 0) return text;
  // Of equal names the last counts, and so the body's own `null` does not.
  const comma = Object.keys(body).length === 0 ? "" : ",";
  const end = Buffer.from(`${comma}${JSON.stringify(Object.fromEntries(added)).slice(1)}`);
  return Buffer.concat([text.subarray(0, text.lastIndexOf("}")), end]);
}
