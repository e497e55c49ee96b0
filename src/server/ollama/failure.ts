/** Failures in the shape of Ollama's API: one text. */
import type { Context } from "hono";
import { HttpError } from "../http/http-error.js";

export function speaksOllama(c: Context): boolean {
  return c.req.path.startsWith("/api/");
}

export function ollamaFailure({ message }: HttpError): object {
  return { error: message };
}

export function notFound(name: string, served: string): HttpError {
  const message = `model '${name.slice(0, 100)}' not found; this server serves '${served}'`;
  return new HttpError(404, message, { param: "model", code: "model_not_found" });
}

export function notOffered(message: string): HttpError {
  return new HttpError(501, message, { type: "not_supported_error", code: "not_supported" });
}
