/** The library: load a model, generate text from it. */
import type { ChatMessage } from "../chat/index.js";
import { EngineClient } from "../link/client.js";
import { watchLoading } from "../link/loading.js";
import type { EngineOptions, EngineStatus, MemoryReport, ModelInfo, ProfileReport, Prompt } from "../link/protocol.js";
import type { OpenParts } from "../link/serve.js";
import type { TextPlaceKind } from "../text/index.js";
import { type AskedConversation, ConversationPrompts, OpeningTexts } from "./conversation-prompts.js";
import { type GenerateOptions, Generation } from "./generation.js";

export interface LoadOptions extends EngineOptions {
  /** Ends the loading with CANCELLED. */
  readonly signal?: AbortSignal;
  /**
   * Where the chat template of the file runs, which is a program of whoever made the file. `thread` (default) is
   * started for the first conversation: a template that does not end is ended, one that outgrows V8's heap at one
   * stroke may take this process with it. `process` is started at once, takes some 40 MB, and harms nobody else.
   */
  readonly text?: TextPlaceKind;
  /** Called a few times a second while weights are read into memory. */
  readonly onLoading?: (loadedBytes: number, totalBytes: number) => void;
}

/** Options of `chat`: those of any answer, and what belongs to a conversation. */
export interface ChatOptions extends GenerateOptions, Omit<AskedConversation, "messages" | "addGenerationPrompt"> {
  /**
   * The prompt's tokens and those of the beginning of its answer, which goes on (`resume`): instead of what the
   * template makes of the messages. The reply is the rest.
   */
  readonly begun?: readonly number[];
}

export interface EmbedOptions {
  /** How tokens become one vector; `none`: a vector for each. Default: what the file says, else the mean. */
  readonly pooling?: "none" | "mean" | "cls" | "last";
  /** The p-norm that becomes 1, default 2; 0: the largest number becomes 32760; -1: vectors as they are. */
  readonly normalize?: number;
  /** Only the first so many numbers, normalized behind the cut. */
  readonly dimensions?: number;
  /** How much each of the model's adapters counts, by its number. Default: as the model was loaded. */
  readonly adapters?: readonly number[];
  /** The name of its owner, from whom others are kept apart: `GenerateOptions.scope`. */
  readonly scope?: string;
  readonly signal?: AbortSignal;
}

export interface Embedding {
  /** One, or without pooling one for each token. */
  readonly vectors: readonly Float32Array[];
  readonly tokens: number;
}

export interface RerankOptions {
  /** The best so many. Default: all. */
  readonly top?: number;
  /** The name of its owner, from whom others are kept apart: `GenerateOptions.scope`. */
  readonly scope?: string;
  readonly signal?: AbortSignal;
}

export interface Ranking {
  /** Which of the documents. */
  readonly index: number;
  readonly score: number;
}

/** A loaded model. Its engine runs in a thread of its own; jobs are done in the order they come. */
export class Model {
  /** Facts of the model: architecture, context, sizes, template. */
  readonly info: ModelInfo;
  private readonly client: EngineClient;

  private readonly prompts: ConversationPrompts;

  private constructor(client: EngineClient, prompts: ConversationPrompts) {
    this.client = client;
    this.prompts = prompts;
    this.info = client.info;
  }

  /** @internal Tests pass `inProcess` parts of their own. */
  static async load(path: string, options: LoadOptions = {}, inProcess?: OpenParts): Promise<Model> {
    const { signal, text = "thread", onLoading, ...rest } = options;
    let endLoading = (): void => {};
    // The engine's thread tells how much it will read, and is busy then.
    const begun = (_: number, totalBytes: number): void => {
      if (onLoading !== undefined) endLoading = watchLoading(totalBytes, onLoading);
    };
    const hooks = { onLoading: begun, ...(signal !== undefined && { signal }) };
    const engine: EngineOptions = text === "process" ? { ...rest, textProcess: "templates" } : rest;
    // Beside the engine, which reads weights meanwhile.
    const texts = text === "process" && inProcess === undefined ? new OpeningTexts(path, text) : undefined;
    try {
      const client = await EngineClient.open(path, engine, inProcess, hooks).finally(() => endLoading());
      // The engine that runs templates is loaded where they run.
      const place = inProcess === undefined ? text : (await import("../chat/index.js")).prepareConversation;
      return new Model(client, new ConversationPrompts(client.info, place, texts));
    } catch (error) {
      texts?.close();
      throw error;
    }
  }

  /**
   * Continues a text (no chat template).
   * @param prompt text, in which special tokens are not recognised, or token ids
   */
  generate(prompt: string | ArrayLike<number>, options: GenerateOptions = {}): Generation {
    const made = promptOf(prompt);
    return new Generation(this.client, () => ({ prompt: made }), options);
  }

  /**
   * Answers a conversation through the chat template of the file (ChatML where it has none). Special tokens come from
   * the template only, never from what a message says. A conversation that continues the last one is not evaluated
   * again from its start. What the template does wrong fails the generation with TEMPLATE_INVALID. A last message of
   * the assistant is gone on with.
   */
  chat(messages: readonly ChatMessage[], options: ChatOptions = {}): Generation {
    const { tools, parallelCalls, mustCall, variables, continueLast, dialect, reasoningBudget, begun, ...generate } =
      options;
    const asked = {
      messages,
      tools,
      parallelCalls,
      mustCall,
      variables,
      continueLast,
      dialect,
      reasoningBudget,
      ...owned(generate.scope),
    };
    return new Generation(this.client, this.prompts.of(asked), generate, begun);
  }

  /**
   * The vector of a text or of a list of token ids; of several, one each.
   * @shape [dimensions], without pooling [tokens * dimensions]
   * @throws CONTEXT_EXCEEDED with both counts for a text longer than the model takes, OPTION_INVALID
   */
  async embed(text: string, options?: EmbedOptions): Promise<Float32Array>;
  async embed(texts: readonly (string | ArrayLike<number>)[], options?: EmbedOptions): Promise<Float32Array[]>;
  async embed(
    given: string | readonly (string | ArrayLike<number>)[],
    options: EmbedOptions = {},
  ): Promise<Float32Array | Float32Array[]> {
    const one = async (text: string | ArrayLike<number>) => (await this.embedded(text, options)).embedding;
    return typeof given === "string" ? one(given) : inTurn(given, one);
  }

  /** The same with what it was made of: tokens of the text, and a vector for each of them where nothing is pooled. */
  async embedding(text: string | ArrayLike<number>, options: EmbedOptions = {}): Promise<Embedding> {
    const { embedding, tokens } = await this.embedded(text, options);
    const rows = options.pooling === "none" ? tokens : 1;
    const width = embedding.length / rows;
    const vectors = Array.from({ length: rows }, (_, r) => embedding.subarray(r * width, (r + 1) * width));
    return { vectors, tokens };
  }

  private embedded(text: string | ArrayLike<number>, { signal, ...how }: EmbedOptions) {
    return cancellable(this.client.submit({ kind: "embed", prompt: promptOf(text), ...how }), signal);
  }

  /**
   * How well documents answer a query, best first: by a reranker, whose scores are logits or (Qwen3) probabilities.
   * @throws CONTEXT_EXCEEDED with both counts for a pair longer than the model takes, OPTION_INVALID
   */
  async rerank(query: string, documents: readonly string[], options: RerankOptions = {}): Promise<Ranking[]> {
    const { signal, top = documents.length, scope } = options;
    const scores = await inTurn(documents, async (document) => {
      const job = this.client.submit({ kind: "rank", prompt: { kind: "pair", query, document }, ...owned(scope) });
      return (await cancellable(job, signal)).scores[0]!;
    });
    const ranked = scores.map((score, index) => ({ index, score }));
    return ranked.sort((a, b) => b.score - a.score || a.index - b.index).slice(0, top);
  }

  /** Token ids of a text; `special` adds BOS / EOS as the model wants and recognises special tokens in the text. */
  async tokenize(text: string, options: { readonly special?: boolean } = {}): Promise<number[]> {
    const special = options.special ?? false;
    const prompt: Prompt = { kind: "text", text, addSpecial: special, parseSpecial: special };
    return [...(await this.client.submit({ kind: "tokenize", prompt }).result).tokens];
  }

  /** Text of token ids; `special` shows control tokens too. */
  async detokenize(tokens: ArrayLike<number>, options: { readonly special?: boolean } = {}): Promise<string> {
    const special = options.special ?? false;
    return (await this.client.submit({ kind: "detokenize", tokens: Int32Array.from(tokens), special }).result).text;
  }

  /**
   * Next-token logits of the positions from `from` on (default: the last one), one row [vocab] each.
   * @throws CONTEXT_EXCEEDED, OPTION_INVALID
   */
  async logits(
    tokens: ArrayLike<number>,
    options: {
      readonly from?: number;
      readonly scope?: string;
      readonly onRows?: (position: number, rows: Float32Array) => void;
    } = {},
  ): Promise<Float32Array[]> {
    const ids = Int32Array.from(tokens);
    const from = options.from ?? ids.length - 1;
    const rows: Float32Array[] = [];
    const { vocab } = this.info;
    await this.client.submit(
      { kind: "score", tokens: ids, from, output: "logits", ...owned(options.scope) },
      (event) => {
        if (event.kind !== "logits") return;
        if (options.onRows !== undefined) options.onRows(event.position, event.values);
        else
          for (let r = 0; r < event.values.length; r += vocab)
            rows[event.position - from + r / vocab] = event.values.subarray(r, r + vocab);
      },
    ).result;
    return rows;
  }

  /** log p of tokens[i + 1] after tokens[0..i], for i from `from` to the last but one (nats). */
  async logProbabilities(
    tokens: ArrayLike<number>,
    options: { readonly from?: number; readonly scope?: string; readonly signal?: AbortSignal } = {},
  ): Promise<Float64Array> {
    const ids = Int32Array.from(tokens);
    const from = options.from ?? 0;
    const out = new Float64Array(Math.max(0, ids.length - 1 - from));
    const job = this.client.submit(
      { kind: "score", tokens: ids, from, output: "logprobs", ...owned(options.scope) },
      (event) => {
        if (event.kind === "logprobs") out.set(event.values, event.position - from);
      },
    );
    await cancellable(job, options.signal);
    return out;
  }

  /**
   * Times a prefill of `prompt` rows behind `depth` tokens, then `decode` passes with one row for each of `rows`
   * sequences of `depth` tokens. Begins when no other job runs; others wait.
   */
  async measure(
    prompt: number,
    decode: number,
    options: { readonly depth?: number; readonly rows?: number; readonly signal?: AbortSignal } = {},
  ): Promise<{ prefillMs: number; decodeMs: number }> {
    const { signal, ...shape } = options;
    return cancellable(this.client.submit({ kind: "measure", prompt, decode, ...shape }), signal);
  }

  /**
   * Times of every kind of operation since the last call (`LoadOptions.profile`).
   * @throws OPTION_INVALID when the model was loaded without
   */
  async profile(): Promise<ProfileReport> {
    return (await this.client.submit({ kind: "profile" }).result).profile;
  }

  /** Bytes the engine allocated, by purpose. */
  async memory(): Promise<MemoryReport> {
    return (await this.client.submit({ kind: "memory" }).result).memory;
  }

  /**
   * Writes tokens and what was evaluated of their beginning into a file, with a text of the caller's beside it. Tokens
   * of conversations are found again when their messages come back. `scope` is that of the answers, here and when the
   * file is read.
   * @returns positions that need not be evaluated again
   * @throws FILE_IO
   */
  async saveSession(
    path: string,
    tokens: ArrayLike<number>,
    about = "",
    options: { readonly scope?: string } = {},
  ): Promise<number> {
    const ids = Int32Array.from(tokens);
    const texts = await this.prompts.textsOf(ids, options.scope);
    const job = this.client.submit({
      ...{ kind: "saveSession", path, tokens: ids, about },
      ...(texts !== undefined && { texts }),
      ...owned(options.scope),
    });
    return (await job.result).positions;
  }

  /**
   * Reads such a file: what begins with its tokens goes on from there.
   * @throws FILE_NOT_FOUND, FILE_IO, FORMAT_INVALID, SESSION_MISFIT when model, adapters or KV type are others
   */
  async loadSession(
    path: string,
    { scope }: { readonly scope?: string } = {},
  ): Promise<{ tokens: number[]; about: string; positions: number }> {
    const job = this.client.submit({ kind: "loadSession", path, ...owned(scope) });
    const { tokens, about, texts, positions } = await job.result;
    if (texts !== undefined) await this.prompts.remember(texts, tokens, scope);
    return { tokens: [...tokens], about, positions };
  }

  /** Calls back when something changed, at most 20 times a second. @returns stops it */
  watch(onStatus: (status: EngineStatus) => void): () => void {
    const job = this.client.submit({ kind: "watch" }, (event) => {
      if (event.kind === "status") onStatus(event.status);
    });
    job.result.catch(() => {}); // ends with the engine, or when it is told to
    return () => job.cancel();
  }

  /** Stops what runs and frees everything. */
  close(): Promise<void> {
    this.prompts.close();
    return this.client.close();
  }
}

/**
 * Loads a model.
 * @param path a GGUF file (of a split one: the first)
 * @throws FILE_NOT_FOUND, FORMAT_INVALID, ARCHITECTURE_UNKNOWN, MODEL_INVALID, TOKENIZER_UNSUPPORTED ...
 * @example
 * const model = await load("model.gguf");
 * for await (const piece of model.generate("Once upon a time", { maxTokens: 100 })) process.stdout.write(piece);
 * await model.close();
 */
export function load(path: string, options: LoadOptions = {}): Promise<Model> {
  return Model.load(path, options);
}

const owned = (scope: string | undefined): { scope?: string } => (scope === undefined ? {} : { scope });

const promptOf = (text: string | ArrayLike<number>): Prompt =>
  typeof text === "string" ? { kind: "text", text } : { kind: "tokens", tokens: Int32Array.from(text) };

/** Jobs given to the engine at once: enough for a pass of short texts. */
const atOnce = 64;

/** In the order of the items; with the first failure nothing new begins. */
async function inTurn<T, R>(items: readonly T[], work: (item: T) => Promise<R>): Promise<R[]> {
  const results = new Array<R>(items.length);
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let i = next++; i < items.length; i = next++)
      results[i] = await work(items[i]!).catch((error) => {
        next = items.length;
        throw error;
      });
  };
  await Promise.all(Array.from({ length: Math.min(atOnce, items.length) }, worker));
  return results;
}

async function cancellable<R>(job: { result: Promise<R>; cancel(): void }, signal?: AbortSignal): Promise<R> {
  const abort = (): void => job.cancel();
  signal?.addEventListener("abort", abort, { once: true });
  if (signal?.aborted) abort();
  try {
    return await job.result;
  } finally {
    signal?.removeEventListener("abort", abort);
  }
}
