/** Answers what every request is asked: who sent it, which model it names, whether its prompt fits. */
import type { HttpBindings } from "@hono/node-server";
import type { Context } from "hono";
import { type EncodedChat, type TooLong, tooLongText } from "../../text/index.js";
import { HttpError } from "../http/http-error.js";
import type { Warnings } from "../http/validate.js";
import type { ServerContext } from "../service/context.js";
import type { ServedModel } from "../service/model-service.js";
import { changeTo, isNamed } from "../service/named-model.js";

/**
 * The model that answers a request, which may name another one than is served: that is opened where the server may
 * change models.
 * @throws HttpError 503 while no model is ready, whatever opening one throws
 */
export async function servedFor(
  c: Context,
  context: ServerContext,
  name: string | undefined,
  warnings: Warnings,
): Promise<ServedModel> {
  // Lines of a batch come without a socket. They wait for places nobody wants, so they never take the model away.
  if ((c.env as Partial<HttpBindings> | undefined)?.incoming !== undefined) await changeTo(name, context);
  const served = context.model.require();
  warnOfModel(name, served, warnings);
  return served;
}

/** Any name is answered by the one model there is, and the answer says so. */
export function warnOfModel(asked: string | undefined, served: ServedModel, warnings: Warnings): void {
  if (asked === undefined || asked === "" || isNamed(served, asked)) return;
  warnings.add(`model '${asked.slice(0, 100)}' is not served, '${served.id}' answers`);
}

/** Those who wait take turns by this name: the address, and the `user` a proxy tells apart. */
export function userOf(c: Context, user: string | undefined): string {
  const address = (c.env as Partial<HttpBindings> | undefined)?.incoming?.socket?.remoteAddress ?? "";
  return user === undefined ? address : `${address}/${user}`;
}

/** As `fitting`, of a conversation. @throws HttpError 400 */
export function fittingChat(chat: EncodedChat | TooLong, contextTokens: number): EncodedChat {
  if ("reply" in chat) {
    fitting(chat.tokens, contextTokens, "messages");
    return chat;
  }
  throw tooLong(chat, contextTokens, "messages");
}

/** @throws HttpError 400 with both counts; a prompt is never cut */
export function fitting(prompt: Int32Array | TooLong, contextTokens: number, param: string): Int32Array {
  if (prompt instanceof Int32Array && prompt.length <= contextTokens) return prompt;
  throw tooLong(prompt instanceof Int32Array ? { tokens: prompt.length, about: false } : prompt, contextTokens, param);
}

function tooLong(long: TooLong, contextTokens: number, param: string): HttpError {
  const what = tooLongText(long, contextTokens, " of this server");
  // Programs look for OpenAI's words or llama-server's, and shorten the conversation then.
  const theirs = `this model's maximum context length is ${contextTokens} tokens`;
  const message =
    param === "input"
      ? `the input is too large: ${what}`
      : `${what} (${theirs}): it exceeds the available context size; shorten it or serve with a larger --ctx`;
  return new HttpError(400, message, {
    param,
    type: "exceed_context_size_error",
    code: "context_length_exceeded",
    more: { ...("tokens" in long && { n_prompt_tokens: long.tokens }), n_ctx: contextTokens },
  });
}
