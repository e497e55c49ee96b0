/** Answers of the model that is served: template and tokens by the text worker, then a job of the engine. */
import { HundredweightError } from "../../errors.js";
import { JobFold } from "../../link/job-fold.js";
import type { JobEvent } from "../../link/protocol.js";
import { defaultSampling, mergeSampling } from "../../sampling/settings.js";
import { HttpError } from "../http/http-error.js";
import { fitting } from "../openai/identity.js";
import { opensThinking } from "../openai/reasoning.js";
import type { ServerContext } from "../service/context.js";
import type { ServedModel } from "../service/model-service.js";
import type { AnswerMaker, MadeAnswer, MakerEvents, MakerRequest } from "./answers.js";
import { opening } from "./reasoning.js";
import type { ConversationSampling } from "./wire.js";

export class ModelAnswerMaker implements AnswerMaker {
  readonly #context: ServerContext;

  constructor(context: ServerContext) {
    this.#context = context;
  }

  get model(): string | undefined {
    return this.#context.model.info === undefined ? undefined : this.#context.model.id;
  }

  /** @throws HttpError 429, 503 */
  enter(): () => void {
    this.#context.model.require();
    return this.#context.gate.enter(1);
  }

  async answer(request: MakerRequest, events: MakerEvents, signal: AbortSignal): Promise<MadeAnswer> {
    try {
      const served = this.#context.model.require();
      const tokens = await promptOf(served, request, events);
      return await this.#generate(served, tokens, request, events, signal);
    } catch (error) {
      // The page shows a code and a line; it has no use for a status.
      if (error instanceof HttpError) {
        const long = error.code === "context_length_exceeded";
        throw new HundredweightError(long ? "CONTEXT_EXCEEDED" : "ENGINE_CLOSED", error.message);
      }
      throw error;
    }
  }

  async #generate(
    { engine, info }: ServedModel,
    tokens: Int32Array,
    { sampling, conversation }: MakerRequest,
    events: MakerEvents,
    signal: AbortSignal,
  ): Promise<MadeAnswer> {
    const fold = new JobFold();
    const onEvent = (event: JobEvent) => {
      const text = fold.add(event);
      if (event.kind === "queued") events.queued(fold.ahead);
      else if (event.kind === "prompt") events.started(tokens.length, expectedSeconds(info, tokens.length));
      else if (event.kind === "pass" && event.total > 0) events.prompt(fold.read, fold.total, event.entry.rows);
      else if (event.kind === "token") events.token(text);
      else if (event.kind === "text") events.text(text);
    };
    const { maxTokens, ...given } = sampling;
    const job = engine.submit(
      {
        kind: "generate",
        prompt: { kind: "tokens", tokens },
        sampling: mergeSampling(given, info.samplingDefaults),
        maxTokens: maxTokens ?? -1,
        stop: [],
        ignoreEos: false,
        user: `page ${conversation}`,
      },
      onEvent,
    );
    const cancel = () => job.cancel();
    const signals = [signal, this.#context.ending];
    for (const each of signals) {
      each.addEventListener("abort", cancel);
      if (each.aborted) cancel();
    }
    try {
      const { finishReason, reusedTokens, prefillMs, decodeMs } = await job.result;
      const { generated: generatedTokens } = fold;
      const stats = { promptTokens: tokens.length, cachedTokens: reusedTokens, generatedTokens, prefillMs, decodeMs };
      return { finishReason, stats };
    } finally {
      for (const each of signals) each.removeEventListener("abort", cancel);
    }
  }
}

function expectedSeconds({ residency }: ServedModel["info"], promptTokens: number): number | undefined {
  const rate = residency.plan?.prefillTokensPerSecond;
  return rate === undefined ? undefined : promptTokens / rate;
}

async function promptOf(served: ServedModel, { messages }: MakerRequest, events: MakerEvents): Promise<Int32Array> {
  const { text, info } = served;
  const { contextTokens: most } = info;
  if (info.chatTemplate === undefined) {
    const plain = { text: plainText(messages), addSpecial: true, parseSpecial: false };
    return fitting(await text.perform({ kind: "encodePrompt", ...plain, most }), most, "messages");
  }
  const tokens = fitting(await text.perform({ kind: "encodeChat", chat: { messages }, most }), most, "messages");
  if (await opensThinking(served, tokens)) events.opened(`${opening}\n`);
  return tokens;
}

/** For a model that continues texts: what there is so far, on lines of their own where one ended a turn. */
export function plainText(messages: MakerRequest["messages"]): string {
  let text = "";
  let before = "user";
  for (const { role, content } of messages) {
    const joins = text === "" || before === "user" || /\s$/.test(text) || /^\s/.test(content);
    text += joins ? content : `\n${content}`;
    before = role;
  }
  return text;
}

/** The settings of a conversation that names none. */
export function samplingDefaults(info: ServedModel["info"]): ConversationSampling {
  const {
    logitBias: _,
    samplers: __,
    drySequenceBreakers: ___,
    ...numbers
  } = { ...defaultSampling, ...info.samplingDefaults };
  return numbers;
}
