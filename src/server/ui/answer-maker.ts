/** Answers of the model that is served: template and tokens by the text worker, then a job of the engine. */
import { ReplyReader } from "../../chat/reply.js";
import { ReplyText } from "../../chat/reply-text.js";
import { HundredweightError } from "../../errors.js";
import { JobFold } from "../../link/job-fold.js";
import type { JobEvent } from "../../link/protocol.js";
import { defaultSampling, mergeSampling } from "../../sampling/settings.js";
import { HttpError } from "../http/http-error.js";
import { fitting, fittingChat } from "../openai/identity.js";
import type { ServerContext } from "../service/context.js";
import type { ServedModel } from "../service/model-service.js";
import type { AnswerMaker, MadeAnswer, MakerEvents, MakerRequest } from "./answers.js";
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
      const asked = await promptOf(served, request);
      return await this.#generate(served, asked, request, events, signal);
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
    { tokens, reader, shown = [] }: Asked,
    { sampling, conversation }: MakerRequest,
    events: MakerEvents,
    signal: AbortSignal,
  ): Promise<MadeAnswer> {
    const fold = new JobFold();
    const written = new ReplyText();
    const read = (piece: string): string => (reader === undefined ? piece : written.of(reader.push(piece)));
    const onEvent = (event: JobEvent) => {
      const text = fold.add(event);
      if (event.kind === "queued") events.queued(fold.ahead);
      else if (event.kind === "prompt") events.started(tokens.length, expectedSeconds(info, tokens.length));
      else if (event.kind === "pass" && event.total > 0) events.prompt(fold.read, fold.total, event.entry.rows);
      else if (event.kind === "token") events.token(read(text));
      else if (event.kind === "text") events.text(read(text));
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
        ...(shown.length > 0 && { shown }),
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
      if (reader !== undefined) events.text(written.of(reader.end()));
      for (const each of signals) each.removeEventListener("abort", cancel);
    }
  }
}

function expectedSeconds({ residency }: ServedModel["info"], promptTokens: number): number | undefined {
  const rate = residency.plan?.prefillTokensPerSecond;
  return rate === undefined ? undefined : promptTokens / rate;
}

interface Asked {
  readonly tokens: Int32Array;
  /** Undefined: the answer is one text. */
  readonly reader?: ReplyReader;
  readonly shown?: readonly number[];
}

async function promptOf(served: ServedModel, { messages }: MakerRequest): Promise<Asked> {
  const { text, info } = served;
  const { contextTokens: most } = info;
  if (info.chatTemplate === undefined) {
    const plain = { text: plainText(messages), addSpecial: true, parseSpecial: false };
    return { tokens: fitting(await text.perform({ kind: "encodePrompt", ...plain, most }), most, "messages") };
  }
  const made = fittingChat(await text.perform({ kind: "encodeChat", chat: { messages }, most }), most);
  const reader = new ReplyReader({ ...made.reply, tools: [], single: false });
  return { tokens: made.tokens, reader, shown: made.shown };
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
