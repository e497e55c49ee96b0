/** Failures in the shape of Anthropic's Messages API. */
import type { Context } from "hono";
import type { HttpError } from "../http/http-error.js";
import { requestIdOf } from "../http/request-id.js";

/** Whether a request comes from a client of this API: by its route, else by the version such clients send. */
export function speaksAnthropic(c: Context): boolean {
  return /^(\/v1)?\/messages(\/|$)/.test(c.req.path) || c.req.header("anthropic-version") !== undefined;
}

/** @source types of npm `@anthropic-ai/sdk`: ErrorResponse and its kinds */
const kinds: Readonly<Record<number, string>> = {
  401: "authentication_error",
  403: "permission_error",
  404: "not_found_error",
  413: "request_too_large",
  429: "rate_limit_error",
  503: "overloaded_error",
  504: "timeout_error",
};

export function anthropicFailure(failure: HttpError, c: Context): object {
  const { status, code, message } = failure;
  const type = kinds[status] ?? (status < 500 ? "invalid_request_error" : "api_error");
  return {
    type: "error",
    error: {
      type,
      message: code === "context_length_exceeded" ? tooLong(message) : message,
      details: code === null ? null : { error_code: code },
    },
    request_id: requestIdOf(c),
  };
}

/** Clients shorten the conversation by themselves when they read these words. */
function tooLong(message: string): string {
  const [, tokens, most] = /has (?:about )?(\d+) tokens, \D*(\d+)/.exec(message) ?? [];
  return `prompt is too long: ${tokens === undefined ? message : `${tokens} tokens > ${most} maximum`}`;
}
