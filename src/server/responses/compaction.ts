/**
 * `/v1/responses/compact`: a conversation made short. What users said stays word by word, as far as there is room; all
 * else becomes a summary that the model writes, with the conversation in front of it as it was evaluated before.
 */
import type { Hono } from "hono";
import type { ChatMessage } from "../../chat/index.js";
import { servedFor } from "../answers/request.js";
import { namedEvents } from "../answers/wire.js";
import { answerExchange } from "../exchange/answer.js";
import { type ExchangeShape, textOf, type WholeReply } from "../exchange/events.js";
import type { Exchange } from "../exchange/exchange.js";
import { readJson } from "../http/body.js";
import type { HttpError } from "../http/http-error.js";
import { bothPaths } from "../http/paths.js";
import { validate, Warnings } from "../http/validate.js";
import type { ServerContext } from "../service/context.js";
import { newId, saidOf } from "./read-request.js";
import { compactSchema, type Item } from "./request.js";
import { usageOf } from "./response-object.js";
import { sealSummary, summaryHeading } from "./sealed.js";
import type { ResponseStore } from "./store.js";

const wish =
  "Summarize this conversation for somebody who continues it and sees nothing else of it. Say what is wanted, what " +
  "was decided and why, what was done and what came of it, and what is left to do. Give names, paths, numbers and " +
  "identifiers word by word. Write the summary and nothing else.";

/** The shares of the context that a summary and what users said may take: the conversation has to go on behind them. */
const [summaryShare, saidShare] = [1 / 8, 1 / 4];
/** Characters a token, as few as are usual. */
const charactersPerToken = 3;

export function compactRoute(app: Hono, context: ServerContext, store: ResponseStore): void {
  app.on("POST", bothPaths("/responses/compact"), async (c) => {
    const arrived = performance.now();
    const warnings = new Warnings();
    const { value, unknown } = validate(compactSchema, await readJson(c, context.config));
    warnings.unknown(unknown);
    const { contextTokens } = (await servedFor(c, context, value.model, warnings)).info;
    const { exchange: said } = saidOf(value, store, warnings);
    const exchange: Exchange = {
      ...said,
      // The beginning of the prompt stays what it was: the tools are told of, and none is called.
      toolChoice: { kind: "none" },
      messages: [...said.messages, { role: "user", content: wish }],
      model: value.model,
      sampling: {},
      stop: [],
      maxTokens: Math.max(64, Math.floor(contextTokens * summaryShare)),
      stream: false,
      user: value.user,
    };
    const kept = saidByUsers(said.messages, contextTokens * saidShare * charactersPerToken);
    return answerExchange({ c, context, exchange, warnings, arrived, shape: () => new CompactionShape(kept) });
  });
}

/** The newest of what users said, in its order; what does not fit is in the summary alone. */
function saidByUsers(messages: readonly ChatMessage[], characters: number): readonly Item[] {
  const kept: Item[] = [];
  let left = characters;
  for (const { role, content } of [...messages].reverse()) {
    if (role !== "user" || typeof content !== "string" || content.startsWith(summaryHeading)) continue;
    left -= content.length;
    if (left < 0) break;
    const part = { type: "input_text", text: content };
    kept.unshift({ id: newId("msg"), type: "message", status: "completed", role: "user", content: [part] });
  }
  return kept;
}

class CompactionShape implements ExchangeShape {
  readonly wire = namedEvents;
  private readonly kept: readonly Item[];

  constructor(kept: readonly Item[]) {
    this.kept = kept;
  }

  heard(): readonly object[] {
    return [];
  }

  end(): readonly object[] {
    return [];
  }

  whole([answer]: readonly WholeReply[]): object {
    const { parts } = answer!;
    // A model that is cut off in its thinking has said nothing else.
    const summary = textOf(parts, "content").trim() || textOf(parts, "reasoning").trim();
    const item = { id: newId("cmp"), type: "compaction", encrypted_content: sealSummary(summary) };
    return {
      id: newId("resp"),
      object: "response.compaction",
      created_at: Math.floor(Date.now() / 1000),
      output: [...this.kept, item],
      usage: usageOf(answer!),
    };
  }

  failure(error: HttpError): object {
    return error.body;
  }
}
