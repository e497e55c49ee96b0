/** `/v1/messages` and `/v1/messages/count_tokens`: Anthropic's Messages API. */
import type { Hono } from "hono";
import { fittingChat, warnOfModel } from "../answers/request.js";
import { answerExchange, conversationOf } from "../exchange/answer.js";
import { askedTools } from "../exchange/tools.js";
import { readJson } from "../http/body.js";
import { validate, Warnings } from "../http/validate.js";
import type { ServerContext } from "../service/context.js";
import { anthropicFailure } from "./failure.js";
import { MessageShape } from "./message-shape.js";
import { exchangeOf, saidOf } from "./read-request.js";
import { countSchema, messagesSchema } from "./request.js";

const paths = (path: string): string[] => [`/v1${path}`, path];

export function messageRoutes(app: Hono, context: ServerContext): void {
  app.on("POST", paths("/messages"), async (c) => {
    const arrived = performance.now();
    const warnings = new Warnings();
    const { value, unknown } = validate(messagesSchema, await readJson(c, context.config));
    warnings.unknown(unknown);
    const exchange = exchangeOf(value, warnings);
    const { maxTokens } = exchange;
    const hidden = value.thinking?.display === "omitted";
    const failure = (error: Parameters<typeof anthropicFailure>[0]): object => anthropicFailure(error, c);
    return answerExchange({
      c,
      context,
      exchange,
      warnings,
      arrived,
      shape: (served, choices) => new MessageShape(served, choices, { hidden, maxTokens, failure }),
    });
  });

  app.on("POST", paths("/messages/count_tokens"), async (c) => {
    const warnings = new Warnings();
    const { value, unknown } = validate(countSchema, await readJson(c, context.config));
    warnings.unknown(unknown);
    const said = saidOf(value, warnings);
    const served = context.model.require();
    warnOfModel(value.model, served, warnings);
    const chat = conversationOf(said, askedTools(said.tools, said.toolChoice, said.parallelCalls));
    const { contextTokens: most } = served.info;
    // What does not fit is counted as well.
    const made = await served.text.perform({ kind: "encodeChat", chat, most });
    warnings.apply(c);
    if ("tokens" in made && !("reply" in made)) return c.json({ input_tokens: made.tokens });
    return c.json({ input_tokens: fittingChat(made, most).tokens.length });
  });
}
