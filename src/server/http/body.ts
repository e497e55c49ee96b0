/** Request bodies: read up to a limit, looked over before they are parsed, valid UTF-8, an object. */
import type { Context } from "hono";
import { collectYoung } from "../../process/idle.js";
import type { ServerConfig } from "./config.js";
import { HttpError } from "./http-error.js";
import { holdBody, passBytes, smallBytes } from "./intake.js";

export type JsonObject = Record<string, unknown>;

/**
 * @throws HttpError 413 beyond `maxBodyBytes`, 415 for compressed ones, 400 for what is no JSON object of bounded shape
 *   in UTF-8
 */
export async function readJson(c: Context, config: ServerConfig): Promise<JsonObject> {
  const value = await readValue(c, config);
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new HttpError(400, "the body is not a JSON object", { code: "invalid_json" });
  }
  return value as JsonObject;
}

/** The same of any JSON value. */
export async function readValue(c: Context, config: ServerConfig): Promise<unknown> {
  const encoding = c.req.header("content-encoding") ?? "identity";
  if (encoding !== "identity") {
    throw new HttpError(415, `content-encoding '${encoding.slice(0, 50)}' is not supported; send the body as it is`);
  }
  let bytes: Uint8Array | undefined = await readBytes(c, config).catch((error: unknown) => {
    if (error instanceof HttpError) throw error;
    // The client left, or promised more than it sent: nobody reads this, and it is no fault of the server's.
    throw new HttpError(400, "the request ended before its body", { code: "body_incomplete" });
  });
  const { length } = bytes;
  const value = parsed(bytes, config);
  bytes = undefined;
  // Its bytes and its text have become the texts in it.
  if (length >= largeBytes) collectYoung();
  return value;
}

/** From here on a body's garbage is not left for later. */
const largeBytes = 2 ** 20;

function parsed(bytes: Uint8Array, config: ServerConfig): unknown {
  if (bytes.length === 0) throw new HttpError(400, "the request has no body; a JSON object is expected");
  checkShape(bytes, config);
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (error) {
    const why = error instanceof TypeError ? "it is not valid UTF-8" : (error as Error).message.slice(0, 200);
    throw new HttpError(400, `the body is not JSON: ${why}`, { code: "invalid_json" });
  }
}

async function readBytes(c: Context, config: ServerConfig): Promise<Uint8Array> {
  const limit = config.maxBodyBytes;
  const tooLarge = (): HttpError =>
    new HttpError(413, `the body is larger than ${limit} bytes; see --max-body`, { code: "body_too_large" });
  const declared = c.req.header("content-length");
  // Node's parser ends the body where the header says.
  const sized = declared !== undefined && c.req.header("transfer-encoding") === undefined;
  if (sized && Number(declared) > limit) throw tooLarge();
  if (sized && Number(declared) <= smallBytes) return new Uint8Array(await c.req.arrayBuffer());
  const reader = c.req.raw.body?.getReader();
  if (reader === undefined) return new Uint8Array();
  // What is not written to is no memory yet: of one that says how long it is nothing has to be copied together.
  let body = Buffer.alloc(sized ? Number(declared) : 0);
  let bytes = 0;
  let counted = 0;
  try {
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      const need = bytes + part.value.length;
      if (need > limit) throw tooLarge();
      if (need > counted) {
        counted = Math.max(need, Math.min(sized ? Number(declared) : limit, 2 * counted), 4096);
        holdBody(c, counted, config);
      }
      if (need > body.length) {
        // Copied together at once: a list of a million chunks of one byte each would take a hundred times their size.
        const grown = Buffer.alloc(counted);
        body.copy(grown, 0, 0, bytes);
        body = grown;
      }
      body.set(part.value, bytes);
      passBytes(part.value.length);
      bytes = need;
    }
  } catch (error) {
    void discard(reader, limit);
    throw error;
  }
  return body.subarray(0, bytes);
}

/** Reads on what was refused: a connection that is cut while its client still sends takes the answer with it. */
async function discard(reader: ReadableStreamDefaultReader<Uint8Array>, limit: number): Promise<void> {
  try {
    let bytes = 0;
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      bytes += part.value.length;
      passBytes(part.value.length);
      if (bytes > limit) return await reader.cancel();
    }
  } catch {} // the client left
}

const quote = 0x22;
const backslash = 0x5c;

/**
 * Small bodies can parse into large things: `[[[[`, `[{},{},`. One scan over the bytes bounds depth and number of
 * objects and lists before anything is made of them.
 */
function checkShape(bytes: Uint8Array, { maxDepth, maxContainers }: ServerConfig): void {
  let depth = 0;
  let containers = 0;
  let inString = false;
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i]!;
    if (inString) {
      if (byte === backslash) i++;
      else if (byte === quote) inString = false;
    } else if (byte === quote) inString = true;
    else if (byte === 0x7b || byte === 0x5b) {
      depth++;
      containers++;
      if (depth > maxDepth)
        throw new HttpError(400, `the body is nested deeper than ${maxDepth}`, { code: "too_deep" });
      if (containers > maxContainers) {
        throw new HttpError(400, `the body has more than ${maxContainers} objects and lists`, { code: "too_complex" });
      }
    } else if (byte === 0x7d || byte === 0x5d) depth--;
  }
}
