/** Answers a line of a batch by the routes of a server, and says what a line gets that cannot be asked. */
import { HundredweightError } from "../errors.js";
import type { LineIndex } from "./line-index.js";
import type { OutputLine } from "./output.js";
import { type BadLine, type BatchRequest, bodyWith } from "./request.js";

export type LineAnswer = Pick<OutputLine, "response" | "error">;

/** Answers to lines that do not say how long they may be: KV memory is reserved for all of it. */
export const usualMaxTokens = 1024;

/** Lines given to an engine beyond those it works on, so that it never waits for one. */
export const linesAhead = 8;

/** Errors that end the batch and not just the line: it can be resumed when the cause is gone. */
const endsBatch = new Set([
  "engine_crashed",
  "engine_restarting",
  "model_loading",
  "model_closed",
  "model_failed",
  "cancelled",
  "model_changed",
  "server_ending",
]);

/** The answer of a line whose request cannot be sent. */
export function faultOf(line: number, request: BatchRequest | BadLine, index: LineIndex): LineAnswer | undefined {
  if (!("url" in request)) return { response: null, error: { code: "invalid_line", message: request.fault } };
  const earlier = index.earlierThan(line, request.customId);
  if (earlier === undefined) return undefined;
  return {
    response: null,
    error: { code: "duplicate_custom_id", message: `custom_id: line ${earlier} has the same one` },
  };
}

/** A line that is answered again has the same answer. */
export function defaultsOf(
  { url, body }: BatchRequest,
  line: number,
  {
    seed = 0,
    maxTokens = usualMaxTokens,
  }: { readonly seed?: number | undefined; readonly maxTokens?: number | undefined },
): Record<string, unknown> {
  if (url === "/v1/embeddings") return {};
  const limited = (body.max_tokens ?? body.max_completion_tokens ?? null) !== null;
  return { seed: seed + line, ...(!limited && { max_tokens: maxTokens }) };
}

/** The routes of a server without a socket. */
export interface Routes {
  request(url: string, init: RequestInit): Response | Promise<Response>;
}

/** @throws what ends the batch */
export async function answerLine(
  routes: Routes,
  request: BatchRequest,
  defaults: Record<string, unknown>,
  init: { readonly signal: AbortSignal; readonly headers?: Record<string, string> },
): Promise<LineAnswer> {
  const response = await routes.request(`http://127.0.0.1${request.url}`, {
    method: "POST",
    headers: { "content-type": "application/json", host: "127.0.0.1", ...init.headers },
    body: new Uint8Array(bodyWith(request, defaults)),
    signal: init.signal,
  });
  const said = JSON.parse(await response.text()) as { error?: { code?: string | null; message?: string } };
  const code = said.error?.code ?? "";
  if (endsBatch.has(code) || response.status === 503)
    throw new HundredweightError(
      code === "model_changed" ? "MODEL_CHANGED" : code === "cancelled" ? "CANCELLED" : "ENGINE_CRASHED",
      `${said.error?.message ?? "the engine ended"}; the same command goes on from here`,
    );
  // What fails after an answer has begun is told under status 200.
  const status_code = said.error !== undefined && response.status === 200 ? 500 : response.status;
  const request_id = response.headers.get("x-request-id") ?? "";
  return { response: { status_code, request_id, body: said }, error: null };
}
