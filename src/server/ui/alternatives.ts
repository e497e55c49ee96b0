/**
 * Tokens that a model might have said instead. Nothing of it is kept while an answer is made: its tokens are
 * evaluated once more when somebody asks, in passes of many rows behind a prompt that is usually cached.
 */
import { HundredweightError } from "../../errors.js";
import type { TokenLogprobs } from "../../sampling/logprobs.js";
import { cancelOn } from "../answers/cancel-on.js";
import { piecesOf } from "../answers/pieces.js";
import { pageScope } from "../http/security.js";
import type { ServerContext } from "../service/context.js";
import { promptOf } from "./answer-maker.js";
import { messagesOf } from "./answer-request.js";
import type { StoredMessage } from "./conversation-file.js";
import type { ChosenToken, Conversation } from "./wire.js";

/** Likeliest tokens at each place. */
const shown = 5;

/**
 * @param conversation with what only files know of messages
 * @throws CONVERSATION_UNKNOWN; OPTION_INVALID where its tokens are not known, or another model made them; CANCELLED
 */
export async function alternativesOf(
  context: ServerContext,
  conversation: Conversation,
  id: string,
  signal: AbortSignal,
): Promise<ChosenToken[]> {
  const message: StoredMessage | undefined = conversation.messages.find((one) => one.id === id);
  if (message?.role !== "assistant") throw new HundredweightError("CONVERSATION_UNKNOWN", "there is no such answer");
  const made = message.tokens ?? message.resume?.tokens ?? [];
  if (made.length === 0)
    throw new HundredweightError("OPTION_INVALID", "message: the tokens of this answer are not known");
  const { model } = context;
  const served = model.require();
  if (message.model !== model.id)
    throw new HundredweightError("OPTION_INVALID", `message: ${message.model ?? "another model"} made this answer`);
  const leave = context.gate.enter(1);
  try {
    const { seenFrom } = message;
    const messages = messagesOf({ ...conversation, seenFrom }, message.parent);
    const scope = pageScope(context.config);
    const request = { conversation: conversation.id, messages, sampling: {}, form: conversation.form };
    const asked = await promptOf(served, request, scope);
    void asked.kept?.ended([]);
    const tokens = new Int32Array(asked.tokens.length + made.length);
    tokens.set(asked.tokens);
    tokens.set(made, asked.tokens.length);
    const found: TokenLogprobs[] = [];
    const job = served.engine.submit(
      {
        kind: "score",
        tokens,
        from: asked.tokens.length - 1,
        output: "logprobs",
        alternatives: shown,
        scope,
      },
      (event) => {
        if (event.kind === "promptLogprobs") found.push(...event.logprobs);
      },
    );
    const release = cancelOn(job, [signal, context.ending]);
    try {
      await job.result;
    } finally {
      release();
    }
    const piece = await piecesOf(served.text).of(found.flatMap(({ id, top }) => [id, ...top.map((one) => one.id)]));
    const weighed = (one: { readonly id: number; readonly logprob: number }) => ({
      text: piece(one.id).text,
      probability: Math.exp(one.logprob),
    });
    return found.map((token) => ({ ...weighed(token), likeliest: token.top.map(weighed) }));
  } finally {
    leave();
  }
}
