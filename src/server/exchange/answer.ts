/**
 * Answers an exchange: conversation to tokens, tokens to jobs, what these say to events, and events to what the API of
 * the client has for them. `ARCHITECTURE.md` ("The life of a request") says how another API is added.
 */

import type { Context } from "hono";
import { type Conversation, constraintOfAnswer, type ReplyFormat } from "../../chat/index.js";
import type { TokenLogprobs } from "../../link/protocol.js";
import type { EncodedChat, HeardReplies } from "../../text/index.js";
import { adaptersOf } from "../answers/adapters.js";
import type { ChoiceEvent, ChoiceJob, ChoiceOutcome, Progress } from "../answers/answer-set.js";
import { checkChoices, choicesOf } from "../answers/choices.js";
import { fittingChat, servedFor, userOf } from "../answers/request.js";
import { type ResponseShape, respond } from "../answers/respond.js";
import { samplingOf } from "../answers/sampling.js";
import type { RequestDefaults } from "../http/config.js";
import type { HttpError } from "../http/http-error.js";
import { ownerOf } from "../http/security.js";
import type { Warnings } from "../http/validate.js";
import type { ServerContext } from "../service/context.js";
import type { ServedModel } from "../service/model-service.js";
import type { ExchangeShape } from "./events.js";
import type { Exchange } from "./exchange.js";
import { SpokenReader } from "./reader.js";
import { limitOf, mayThink, thinkingVariables } from "./thinking.js";
import { type AskedTools, askedTools, repeatedNames } from "./tools.js";

export interface ExchangeOptions {
  readonly c: Context;
  readonly context: ServerContext;
  readonly exchange: Exchange;
  /** Told to the client in a header. */
  readonly warnings: Warnings;
  /** `performance.now()` when the request came. */
  readonly arrived: number;
  /** Called when the prompt is there and fits. The shape must not hold the conversation: an answer may take hours. */
  readonly shape: (served: ServedModel, choices: readonly ChoiceJob[]) => ExchangeShape;
  /** Makes the prompt. Default: as the chat template has the messages. */
  readonly encode?: (served: ServedModel, asked: AskedTools) => Promise<EncodedChat>;
}

/**
 * @throws HttpError while no header is out: 400 for what cannot be done or does not fit, 429 when too many wait, 503
 *   while no model is ready
 */
export async function answerExchange(options: ExchangeOptions): Promise<Response> {
  const { c, context, exchange, warnings, arrived } = options;
  const { stream, maxTimeMs, choices: n = 1 } = exchange;
  const asked = askedTools(exchange.tools, exchange.toolChoice, exchange.parallelCalls);
  for (const name of repeatedNames(exchange.tools)) warnings.add(`there are several tools '${name}': the first counts`);
  const served = await servedFor(c, context, exchange.model, warnings);
  checkChoices(n, context);
  const release = context.gate.enter(n);
  const scope = ownerOf(c, context.config);
  let kept: HeardReplies | undefined;
  try {
    const chat = conversationOf(exchange, asked, served.defaults);
    const encoded = await (options.encode?.(served, asked) ?? encodedChat(served, chat, scope));
    for (const note of encoded.notes) warnings.add(note);
    const prediction = await predictionOf(served, exchange.prediction);
    const adapters = adaptersOf(exchange.adapters, served);
    const choices = choicesOf([encoded.tokens], n, {
      sampling: samplingOf(exchange.sampling, served.info),
      maxTokens: exchange.maxTokens,
      stop: exchange.stop,
      ignoreEos: exchange.ignoreEos ?? false,
      user: userOf(c, exchange.user),
      scope,
      ...(prediction !== undefined && { prediction }),
      ...(adapters !== undefined && { adapters }),
      ...readingOf(exchange, served.defaults, encoded, asked, served.info.chatTemplate),
    });
    const format = { ...encoded.reply, tools: asked.shapes, single: asked.single };
    const read = (exchange.thinking?.inText ?? served.defaults.reasoningFormat === "none") ? unsplit(format) : format;
    kept = served.evaluated.begin(chat, encoded, scope);
    const readers = choices.map(
      (_, i) => new SpokenReader(read, asked.custom, !stream, (id, events) => kept?.heard(i, id, events)),
    );
    const shape = new ExchangeResponse(options.shape(served, choices), choices, readers, stream, kept);
    return await respond({ c, context, served, choices, shape, stream, maxTimeMs, warnings, arrived, release });
  } catch (error) {
    void kept?.ended([]);
    release();
    throw error;
  }
}

/**
 * Counts the tokens of a conversation of this owner, also of one that does not fit.
 * @throws HttpError 400 for far too long a text
 */
export async function countedExchange(served: ServedModel, exchange: Asking, scope: string): Promise<number> {
  const asked = askedTools(exchange.tools, exchange.toolChoice, exchange.parallelCalls);
  const chat = conversationOf(exchange, asked, served.defaults);
  const { contextTokens: most } = served.info;
  const made = await served.evaluated.encode(chat, most, scope);
  return "tokens" in made && !("reply" in made) ? made.tokens : fittingChat(made, most).tokens.length;
}

/** The tokens of a conversation, and how its reply is read. @throws HttpError 400 for one that does not fit */
export async function encodedExchange(
  served: ServedModel,
  exchange: Pick<Exchange, "messages" | "thinking" | "template">,
  asked: AskedTools,
  scope: string,
): Promise<EncodedChat> {
  return encodedChat(served, conversationOf(exchange, asked, served.defaults), scope);
}

type Asking = Pick<Exchange, "messages" | "thinking" | "template" | "tools" | "toolChoice" | "parallelCalls">;

async function encodedChat({ info, evaluated }: ServedModel, chat: Conversation, scope: string): Promise<EncodedChat> {
  const { contextTokens: most } = info;
  return fittingChat(await evaluated.encode(chat, most, scope), most);
}

/** The tokens of an expected answer; undefined where none is, and where it is too long to be one. */
async function predictionOf({ info, text }: ServedModel, prediction = ""): Promise<number[] | undefined> {
  if (prediction === "") return undefined;
  const most = info.contextTokens;
  const made = await text.perform({ kind: "encode", text: prediction, addSpecial: false, parseSpecial: false, most });
  return made instanceof Int32Array ? [...made] : undefined;
}

export function conversationOf(
  { messages, thinking = {}, template = {} }: Pick<Exchange, "messages" | "thinking" | "template">,
  { tools, mustCall }: AskedTools,
  defaults: RequestDefaults,
): Conversation {
  return {
    messages,
    tools,
    mustCall,
    addGenerationPrompt: template.addGenerationPrompt ?? true,
    continueLast: template.continueLast ?? true,
    dialect: template.dialect,
    variables: { ...defaults.variables, ...thinkingVariables(thinking), ...template.variables },
  };
}

/** Tells the engine of the reply: which tokens are shown, how long is thought, which form it has. */
function readingOf(
  { thinking: wish = {}, format, logprobs }: Exchange,
  { reasoningBudget }: RequestDefaults,
  { reply, shown, thinking: marks }: EncodedChat,
  asked: AskedTools,
  template: string | undefined,
) {
  const budget = wish.budget ?? reasoningBudget;
  const thinking = limitOf({ ...wish, budget }, marks, reply);
  const calls = { ...asked, tools: asked.shapes };
  const constraint = constraintOfAnswer(reply, marks, calls, format, mayThink(template, marks, reply));
  return {
    ...(shown.length > 0 && { shown }),
    ...(thinking !== undefined && { thinking }),
    ...(constraint !== undefined && { constraint }),
    ...(logprobs !== undefined && { logprobs }),
  };
}

/** Everything is text: tags of thinking stay where they are. */
function unsplit({ dialect, ...format }: ReplyFormat): ReplyFormat {
  const { messages: _, answer: __, ...plain } = dialect;
  return { ...format, thinks: false, dialect: { ...plain, thinking: [] } };
}

/** Hands what the jobs say to the shape of an API, as events of answers. */
class ExchangeResponse implements ResponseShape {
  private readonly shape: ExchangeShape;
  private readonly choices: readonly ChoiceJob[];
  private readonly readers: readonly SpokenReader[];
  private readonly stream: boolean;
  private readonly kept: HeardReplies | undefined;

  constructor(
    shape: ExchangeShape,
    choices: readonly ChoiceJob[],
    readers: readonly SpokenReader[],
    stream: boolean,
    kept: HeardReplies | undefined,
  ) {
    this.shape = shape;
    this.choices = choices;
    this.readers = readers;
    this.stream = stream;
    this.kept = kept;
  }

  get wire(): ResponseShape["wire"] {
    return this.shape.wire;
  }

  start(): readonly object[] | undefined {
    return this.shape.start?.();
  }

  alive(): readonly object[] | undefined {
    return this.shape.alive?.();
  }

  chunks(choice: number, event: ChoiceEvent): readonly object[] | Promise<readonly object[]> {
    if (event.kind === "promptLogprobs") return [];
    if (event.kind === "token") this.shape.made?.(event.id);
    const events = this.readers[choice]!.push(event);
    const token: TokenLogprobs | undefined = event.kind === "token" ? event.logprobs : undefined;
    return this.stream ? this.shape.heard(choice, events, token) : [];
  }

  progress(progress: Progress, elapsedMs: number): object | undefined {
    return this.shape.progress?.(progress, elapsedMs);
  }

  rolled(choice: number, fields: object): readonly object[] {
    return this.shape.rolled?.(choice, fields) ?? [];
  }

  async last(outcomes: readonly ChoiceOutcome[]): Promise<readonly object[]> {
    const chunks: object[] = [];
    for (const [choice, reader] of this.readers.entries()) {
      chunks.push(...(await this.shape.heard(choice, reader.end(), undefined)));
    }
    const ends = outcomes.map((outcome, i) => this.readers[i]!.ended(this.choices[i]!, outcome));
    return [...chunks, ...this.shape.end(ends)];
  }

  whole(outcomes: readonly ChoiceOutcome[]): object | Promise<object> {
    for (const reader of this.readers) reader.end();
    return this.shape.whole(outcomes.map((outcome, i) => this.readers[i]!.ended(this.choices[i]!, outcome)));
  }

  failure(error: HttpError, stream: boolean): object {
    return this.shape.failure(error, stream);
  }

  ended(outcomes: readonly ChoiceOutcome[]): void {
    // A stop text is in the tokens, and not in what the client got.
    void this.kept?.ended(outcomes.map(({ result }) => result !== undefined && result.stopText === undefined));
  }
}
