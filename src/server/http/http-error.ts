/** Failures as a client sees them: an HTTP status and OpenAI's error object. */
import { asHundredweightError, type ErrorCode } from "../../errors.js";
import type { TextFaultKind } from "../../text/index.js";

export interface ErrorBody {
  readonly error: {
    readonly message: string;
    readonly type: string;
    /** The field of the request that is wrong. */
    readonly param: string | null;
    readonly code: string | null;
    /** Counts of a prompt that is too long, as llama-server has them. */
    readonly n_prompt_tokens?: number;
    readonly n_ctx?: number;
  };
}

export class HttpError extends Error {
  readonly status: number;
  readonly type: string;
  readonly param: string | null;
  readonly code: string | null;
  readonly headers: Readonly<Record<string, string>>;
  private readonly more: object;

  constructor(
    status: number,
    message: string,
    about: {
      type?: string;
      param?: string | null;
      code?: string | null;
      headers?: Record<string, string>;
      /** Further fields of the error. */
      more?: object;
      /** A detail for the log, not for the client. */
      cause?: Error;
    } = {},
  ) {
    super(message, about.cause && { cause: about.cause });
    this.name = "HttpError";
    this.status = status;
    this.type = about.type ?? (status < 500 ? "invalid_request_error" : "server_error");
    this.param = about.param ?? null;
    this.code = about.code ?? null;
    this.headers = about.headers ?? {};
    this.more = about.more ?? {};
  }

  get body(): ErrorBody {
    const { message, type, param, code } = this;
    return { error: { message, type, param, code, ...this.more } };
  }

  /** Stacks of what is behind it: for the log, never for a client. */
  get trace(): string {
    const stacks: string[] = [];
    for (let at: unknown = this.cause; at instanceof Error; at = at.cause) stacks.push(at.stack ?? at.message);
    return stacks.join("\ncaused by ");
  }

  /** @param body in the shape of another API */
  response(body: object = this.body): Response {
    return Response.json(body, { status: this.status, headers: this.headers });
  }
}

/** A wrong field of a request. */
export function wrongField(param: string, message: string, code: string | null = null): HttpError {
  return new HttpError(400, message, { param, code });
}

/** Come back in a moment: the queue is full or the model is not there. */
export function busy(status: 429 | 503, message: string, code: string, seconds: number): HttpError {
  return new HttpError(status, message, {
    type: status === 429 ? "rate_limit_error" : "server_error",
    code,
    headers: { "retry-after": String(Math.max(1, Math.ceil(seconds))) },
  });
}

/** Engine failures by code; what is not listed is a fault of the server and says nothing of its inside. */
const known: Readonly<Partial<Record<ErrorCode | "QUEUE_FULL" | "ENGINE_CRASHED", [status: number, code: string]>>> = {
  CONTEXT_EXCEEDED: [400, "context_length_exceeded"],
  OPTION_INVALID: [400, "invalid_value"],
  TEMPLATE_INVALID: [400, "template_invalid"],
  TEXT_INVALID: [400, "text_invalid"],
  TEMPLATE_MISSING: [400, "template_missing"],
  TOKENIZER_UNSUPPORTED: [400, "tokenizer_unsupported"],
  QUEUE_FULL: [429, "queue_full"],
  ENGINE_CRASHED: [503, "engine_crashed"],
  ENGINE_CLOSED: [503, "model_closed"],
  CANCELLED: [503, "cancelled"],
  MODEL_CHANGED: [500, "model_changed"],
  MEMORY_BUDGET: [500, "memory_budget"],
  HUB_REFUSED: [404, "hub_refused"],
  NETWORK_FAILED: [502, "network_failed"],
  CHECKSUM_WRONG: [502, "checksum_wrong"],
  DISK_FULL: [507, "disk_full"],
};

export function asHttpError(thrown: unknown): HttpError {
  if (thrown instanceof HttpError) return thrown;
  const error = asHundredweightError(thrown);
  const { fault, param } = error.details as { readonly fault?: TextFaultKind; readonly param?: unknown };
  if (fault === "text_crowded") return busy(503, error.message, fault, 2);
  if (fault !== undefined) return new HttpError(500, error.message, { code: fault });
  const [status, code] = known[error.code] ?? [500, "internal_error"];
  if (status === 429) return busy(429, error.message, code, 5);
  if (status === 503) return busy(503, error.message, code, 5);
  const about = { code, ...(typeof param === "string" && { param }) };
  if (code !== "internal_error") return new HttpError(status, error.message, about);
  return new HttpError(status, "the server failed; its log says why", { code, cause: error });
}
