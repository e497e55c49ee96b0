/** `/v1/messages` and `/v1/messages/count_tokens`: Anthropic's Messages API. */
import type { Hono } from "hono";
import { servedFor } from "../answers/request.js";
import { answerExchange, countedExchange } from "../exchange/answer.js";
import { readJson } from "../http/body.js";
import { bothPaths } from "../http/paths.js";
import { ownerOf } from "../http/security.js";
import { validate, Warnings } from "../http/validate.js";
import type { ServerContext } from "../service/context.js";
import { anthropicFailure } from "./failure.js";
import { MessageShape } from "./message-shape.js";
import { exchangeOf, saidOf } from "./read-request.js";
import { countSchema, messagesSchema } from "./request.js";

export function messageRoutes(app: Hono, context: ServerContext): void {
  app.on("POST", bothPaths("/messages"), async (c) => {
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

  app.on("POST", bothPaths("/messages/count_tokens"), async (c) => {
    const warnings = new Warnings();
    const { value, unknown } = validate(countSchema, await readJson(c, context.config));
    warnings.unknown(unknown);
    const said = saidOf(value, warnings);
    const served = await servedFor(c, context, value.model, warnings);
    const counted = await countedExchange(served, said, ownerOf(c, context.config));
    warnings.apply(c);
    return c.json({ input_tokens: counted });
  });
}
