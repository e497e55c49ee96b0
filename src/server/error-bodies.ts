/** A failure as the API of the client has it: OpenAI's object on all routes that are not another API's. */
import type { Context } from "hono";
import { anthropicFailure, speaksAnthropic } from "./anthropic/failure.js";
import type { HttpError } from "./http/http-error.js";
import { ollamaFailure, speaksOllama } from "./ollama/failure.js";

interface FailureShape {
  speaks(c: Context): boolean;
  body(failure: HttpError, c: Context): object;
}

const shapes: readonly FailureShape[] = [
  { speaks: speaksAnthropic, body: anthropicFailure },
  { speaks: speaksOllama, body: ollamaFailure },
];

export function errorBody(failure: HttpError, c: Context): object {
  return shapes.find(({ speaks }) => speaks(c))?.body(failure, c) ?? failure.body;
}
