/** How much text a request may bring, and how long each try of it may take. */
import type { Conversation } from "../chat/index.js";
import type { GapText } from "../tokenizer/index.js";
import type { TextLimits, TextRequest } from "./protocol.js";

/** Bytes of text, whatever the context: all of it is held several times over while a template reads it. */
export const mostRequestBytes = 8 * 2 ** 20;
const leastBytes = 64 * 2 ** 10;
/** Tokens of texts have 2 to 6 bytes. What has more of them than this for each that fits cannot fit. */
const bytesPerToken = 16;

/** @returns bytes of UTF-8 that a prompt for this context may have */
export function mostTextBytes(contextTokens: number): number {
  return Math.min(mostRequestBytes, Math.max(leastBytes, bytesPerToken * contextTokens));
}

/** Bytes of UTF-8 of everything a request says; of tokens, their number. */
export function bytesOf(request: TextRequest): number {
  if ("text" in request) return Buffer.byteLength(request.text);
  if ("tokens" in request) return request.tokens.length;
  if ("query" in request) return Buffer.byteLength(request.query) + Buffer.byteLength(request.document);
  if (request.kind === "abilities") return 0;
  if ("gap" in request) return gapBytes(request.gap);
  if ("constraint" in request) return Buffer.byteLength(JSON.stringify(request.constraint));
  return chatBytes(request.chat);
}

function gapBytes({ prefix, suffix, begun = "", files = [] }: GapText): number {
  const texts = [prefix, suffix, begun, ...files.flatMap(({ name, text }) => [name, text])];
  return texts.reduce((sum, text) => sum + Buffer.byteLength(text), 0);
}

/** All strings count, whatever they are called: a template can print each. */
export function chatBytes({ messages, tools, variables }: Conversation): number {
  let bytes = 0;
  const open: unknown[] = [messages, tools, variables];
  while (open.length > 0) {
    const value = open.pop();
    if (typeof value === "string") bytes += Buffer.byteLength(value);
    else if (Array.isArray(value)) for (const item of value) open.push(item);
    else if (typeof value === "object" && value !== null)
      for (const [key, item] of Object.entries(value)) {
        bytes += Buffer.byteLength(key);
        open.push(item);
      }
  }
  return bytes;
}

/** A request that is larger is not tried where small ones are answered. */
export const quickBytes = 64 * 2 ** 10;

/**
 * Milliseconds a template gets at first, and then once more: most need 1 to 5 ms. With as many bad ones before it as a
 * server takes answers, a good one waits less than a second.
 */
const firstMs = 12;
const secondMs = 150;
const perMs = 1024;

/** Milliseconds of a try where others wait behind it. */
export function quickLimits(bytes: number, attempt: number): TextLimits {
  return { renderMs: (attempt === 0 ? firstMs : secondMs) + bytes / perMs, renderedLength: 4 * quickBytes };
}

/** Milliseconds of the last try. A text of this length takes seconds to be counted, not to be tokenized. */
export function patientLimits(ms: number): TextLimits {
  return { renderMs: Math.max(1, ms), renderedLength: 4 * mostRequestBytes };
}

/**
 * After which a place that has these limits is not waited for: tokenizing is not broken off, and slow on a busy
 * machine.
 */
export function overdueMs(limits: TextLimits, bytes: number): number {
  return limits.renderMs + 500 + bytes / 300;
}

/** Milliseconds a large request gets before others of its kind may push it aside. */
export function fairMs(bytes: number): number {
  return 500 + bytes / 300;
}
