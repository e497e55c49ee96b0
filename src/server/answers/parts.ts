/** Large answers in parts: each is made when the socket has taken the one before. */
import type { HttpBindings } from "@hono/node-server";
import type { Context } from "hono";
import { type Share, smallBytes, type Untaken } from "../http/untaken.js";

/** UTF-16 units of a part. */
export const partUnits = 32 * 1024;
const encoder = new TextEncoder();

/** The socket's side of an answer; undefined for a request without a socket. */
export function outgoingOf(c: Context): HttpBindings["outgoing"] | undefined {
  return (c.env as Partial<HttpBindings> | undefined)?.outgoing;
}

/** Pieces of a text that are each well-formed: no surrogate pair is parted. */
export function* textParts(text: string): Generator<string> {
  for (let at = 0; at < text.length; ) {
    let end = Math.min(text.length, at + partUnits);
    const last = text.charCodeAt(end - 1);
    if (end < text.length && last >= 0xd800 && last <= 0xdbff) end++;
    yield text.slice(at, end);
    at = end;
  }
}

/** @param share given back when the last part is taken, and when the reader leaves */
export function bodyOfParts(
  parts: Iterator<string, unknown> | AsyncIterator<Uint8Array, unknown>,
  share: Share,
): ReadableStream<Uint8Array> {
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        try {
          const { done, value } = await parts.next();
          if (done !== true) return controller.enqueue(typeof value === "string" ? encoder.encode(value) : value);
          share.release();
          controller.close();
        } catch (error) {
          // Too late for a status: the connection breaks, so that nobody takes a part for the whole.
          share.release();
          controller.error(error);
        }
      },
      cancel: () => share.release(),
    },
    // Nothing is made ahead.
    { highWaterMark: 0 },
  );
}

/** JSON that was written already: small at once, large in parts that are counted until they are taken. */
export function jsonAnswer(
  c: Context,
  untaken: Untaken,
  json: string,
  headers: Record<string, string> = { "content-type": "application/json" },
): Response {
  if (json.length <= smallBytes) return c.body(json, 200, headers);
  const share = untaken.hold(outgoingOf(c), Buffer.byteLength(json));
  return c.body(bodyOfParts(textParts(json), share), 200, headers);
}
