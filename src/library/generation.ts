/** An answer in the making: its options, its parts as they come, how it went. */
import { type ReplyCall, type ReplyEvent, ReplyGatherer, ReplyReader } from "../chat/reply.js";
import type { EngineClient, RunningJob } from "../link/client.js";
import { JobFold } from "../link/job-fold.js";
import type {
  DraftCounts,
  DraftMode,
  FinishReason,
  GenerateResult,
  JobEvent,
  LedgerEntry,
  Resume,
  RolledEvent,
  SamplerState,
  WhenFull,
} from "../link/protocol.js";
import { leftOutText } from "../sampling/constraint/left-out.js";
import type { Constraint } from "../sampling/constraint/source.js";
import { mergeSampling, type SamplingSettings } from "../sampling/settings.js";
import type { AskedPrompt } from "./conversation-prompts.js";

/** Tokens of an answer when the caller names no limit. */
export const defaultMaxTokens = 512;

export interface GenerateOptions extends Partial<SamplingSettings> {
  /**
   * Most tokens to generate; default 512, -1 = until the context is full, or where `whenFull` lets it go on, as many
   * as the model was trained for.
   */
  readonly maxTokens?: number;
  /** Texts that end the answer; they are not part of it. */
  readonly stop?: readonly string[];
  /** Never let the model end by itself. */
  readonly ignoreEos?: boolean;
  /** The form the answer has to have: JSON by a schema, a grammar, a pattern, a choice. */
  readonly constraint?: Constraint;
  /** How much each of the model's adapters counts, by its number. Default: as the model was loaded. */
  readonly adapters?: readonly number[];
  /** Guesses ahead of the answer; default: as the model was opened. They change the time it takes, no token. */
  readonly drafts?: DraftMode;
  /** The way of the answer when the context is full; default: as the model was opened. */
  readonly whenFull?: Partial<WhenFull>;
  /** Called when the context was full and the answer went on without some of its tokens. */
  readonly onRolled?: (rolled: RolledEvent) => void;
  /** Tokens the answer is expected to have, or most of them: tried as drafts. */
  readonly prediction?: readonly number[];
  /** The name of its owner: earlier answers and pasts of other owners are not looked at. Default: nobody's. */
  readonly scope?: string;
  /** The result tells the sampler's state, with which `resume` goes on. */
  readonly resumable?: boolean;
  /** The prompt ends with so many tokens of an answer, which goes on as if it had never been cut. */
  readonly resume?: Resume;
  /** Ends the generation with CANCELLED. */
  readonly signal?: AbortSignal;
  /** Called after each pass of the prompt with the rows done and their number. */
  readonly onProgress?: (done: number, total: number) => void;
}

export interface GenerationTimings {
  readonly prefillMs: number;
  readonly prefillTps: number;
  readonly decodeMs: number;
  readonly decodeTps: number;
}

/** How a generation went. */
export interface GenerationResult {
  /** The text for the reader. */
  readonly text: string;
  /** The thinking of a chat model before it. */
  readonly reasoning: string;
  /** Tools that a chat model calls. */
  readonly toolCalls: readonly ReplyCall[];
  /** Sentences about what went not quite as it should: a call that could not be read, a missing template. */
  readonly warnings: readonly string[];
  readonly promptTokens: readonly number[];
  /** Without the end-of-generation token; with those that make up a stop string. */
  readonly tokens: readonly number[];
  readonly finishReason: FinishReason;
  /** Leading prompt tokens reused from the generation before. */
  readonly reusedTokens: number;
  readonly seed: number;
  readonly timings: GenerationTimings;
  /** Guesses that were evaluated, by their source; absent: there were none. */
  readonly drafts?: DraftCounts;
  /** The state behind the last token, where the answer is resumable and has one. */
  readonly sampler?: SamplerState;
  /** One entry per pass. */
  readonly ledger: readonly LedgerEntry[];
}

/**
 * An answer in the making: iterate it once for pieces of its text as they come, or `parts()` for thinking and tool
 * calls as well, or await `result()`. Leaving the loop early stops the model.
 */
export class Generation implements AsyncIterable<string> {
  readonly seed: number;
  private job: RunningJob<GenerateResult> | undefined;
  /** Ends the making of the prompt, too. */
  private readonly ender = new AbortController();
  private readonly settled: Promise<GenerationResult>;
  private readonly events: ReplyEvent[] = [];
  private wake: (() => void) | undefined;
  private ended = false;

  /**
   * @internal
   * @param promptOf makes the prompt, in a moment or at once
   * @param begun tokens to go on with instead, an answer's beginning behind its prompt
   */
  constructor(
    client: EngineClient,
    promptOf: (signal: AbortSignal) => AskedPrompt | Promise<AskedPrompt>,
    options: GenerateOptions,
    begun?: readonly number[],
  ) {
    const sampling = mergeSampling(options, client.info.samplingDefaults);
    this.seed = sampling.seed;
    const tokens: number[] = [];
    const ledger: LedgerEntry[] = [];
    let promptTokens: number[] = [];
    let sampler: SamplerState | undefined;
    const fold = new JobFold();
    const gathered = new ReplyGatherer();
    let reader: ReplyReader | undefined;
    let heard: AskedPrompt["heard"];
    const add = (events: readonly ReplyEvent[]): void => {
      if (events.length === 0) return;
      gathered.add(events);
      this.events.push(...events);
      this.wake?.();
    };
    const onEvent = (event: JobEvent): void => {
      if (event.kind === "resumed") readAgain(event.texts);
      const piece = fold.add(event);
      if (event.kind === "token" && event.sampler !== undefined) sampler = event.sampler;
      if (event.kind === "prompt") promptTokens = [...event.tokens];
      else if (event.kind === "token") tokens.push(event.id);
      else if (event.kind === "rolled") options.onRolled?.(event);
      else if (event.kind === "constraint") add([{ kind: "warning", text: leftOutText(event.leftOut) }]);
      else if (event.kind === "pass") {
        ledger.push(event.entry);
        if (event.total > 0) options.onProgress?.(fold.read, fold.total);
      }
      const said = saidBy(reader, piece);
      if (event.kind === "token") heard?.heard(0, event.id, said);
      else heard?.heard(0, undefined, said);
      add(said);
    };
    // What was said before is not said again, but where in the reply it ended has to be known.
    const readAgain = (texts: readonly string[]): void => {
      const ids = begun?.slice(begun.length - texts.length) ?? [];
      for (const [i, text] of texts.entries()) heard?.heard(0, ids[i], saidBy(reader, text));
    };
    const submit = async ({
      prompt,
      reply,
      shown,
      thinking,
      notes = [],
      ...asked
    }: AskedPrompt): Promise<GenerateResult> => {
      if (reply !== undefined) reader = new ReplyReader(reply);
      heard = asked.heard;
      add(notes.map((text) => ({ kind: "warning", text })));
      const { constraint: form } = options;
      const constraint = asked.constraint === undefined ? form : asked.constraint(form);
      const request = {
        kind: "generate",
        prompt: begun === undefined ? prompt : ({ kind: "tokens", tokens: Int32Array.from(begun) } as const),
        sampling,
        maxTokens: options.maxTokens ?? defaultMaxTokens,
        stop: options.stop ?? [],
        ignoreEos: options.ignoreEos ?? false,
        ...(shown !== undefined && shown.length > 0 && { shown }),
        ...(thinking !== undefined && { thinking }),
        ...(constraint !== undefined && { constraint }),
        ...(options.adapters !== undefined && { adapters: options.adapters }),
        ...(options.drafts !== undefined && { drafts: options.drafts }),
        ...(options.whenFull !== undefined && { whenFull: options.whenFull }),
        ...(options.prediction !== undefined && { prediction: options.prediction }),
        ...(options.scope !== undefined && { scope: options.scope }),
        ...(options.resumable === true && { resumable: true }),
        ...(options.resume !== undefined && { resume: options.resume }),
      } as const;
      this.job = client.submit(request, onEvent);
      if (this.ender.signal.aborted) this.job.cancel();
      let done: GenerateResult | undefined;
      try {
        done = await this.job.result;
        return done;
      } finally {
        // Of an answer that was broken off, too, what was held back is said.
        const rest = reader?.end() ?? [];
        heard?.heard(0, undefined, rest);
        add(rest);
        // A stop text is in the tokens and not in the answer.
        void heard?.ended([done !== undefined && done.stopText === undefined]);
      }
    };
    const abort = (): void => this.cancel();
    options.signal?.addEventListener("abort", abort, { once: true });
    const prompt = promptOf(this.ender.signal);
    const result = prompt instanceof Promise ? prompt.then(submit) : submit(prompt);
    if (options.signal?.aborted) abort();
    this.settled = result
      .then((done) => ({
        ...replyOf(gathered),
        promptTokens,
        tokens,
        finishReason: done.finishReason,
        reusedTokens: done.reusedTokens,
        seed: sampling.seed,
        ...(done.drafts !== undefined && { drafts: done.drafts }),
        ...(sampler !== undefined && { sampler }),
        timings: {
          prefillMs: done.prefillMs,
          prefillTps: perSecond(done.prefillRows, done.prefillMs),
          decodeMs: done.decodeMs,
          decodeTps: perSecond(done.decodeRows, done.decodeMs),
        },
        ledger,
      }))
      .finally(() => {
        options.signal?.removeEventListener("abort", abort);
        this.ended = true;
        this.wake?.();
      });
    this.settled.catch(() => {}); // whoever iterates or awaits gets it
  }

  /**
   * Waits for the end.
   * @throws CANCELLED, CONTEXT_EXCEEDED, TEMPLATE_INVALID, MODEL_INVALID, ENGINE_CLOSED ...
   */
  result(): Promise<GenerationResult> {
    return this.settled;
  }

  private cancel(): void {
    this.ender.abort();
    this.job?.cancel();
  }

  /** The text for the reader. */
  async *[Symbol.asyncIterator](): AsyncGenerator<string, void, void> {
    for await (const event of this.parts()) if (event.kind === "content") yield event.text;
  }

  /** Thinking, text and tool calls as they come. */
  async *parts(): AsyncGenerator<ReplyEvent, void, void> {
    try {
      for (;;) {
        for (let event = this.events.shift(); event !== undefined; event = this.events.shift()) yield event;
        if (this.ended) break;
        await new Promise<void>((resolve) => {
          this.wake = resolve;
          if (this.ended || this.events.length > 0) resolve();
        });
        this.wake = undefined;
      }
      await this.settled;
    } finally {
      if (!this.ended) {
        this.cancel();
        await this.settled.catch(() => {});
      }
    }
  }
}

function saidBy(reader: ReplyReader | undefined, piece: string): readonly ReplyEvent[] {
  if (piece === "") return [];
  return reader?.push(piece) ?? [{ kind: "content", text: piece }];
}

function replyOf(gathered: ReplyGatherer): Pick<GenerationResult, "text" | "reasoning" | "toolCalls" | "warnings"> {
  const { content, reasoning, calls, warnings } = gathered.reply;
  return { text: content, reasoning, toolCalls: calls, warnings };
}

function perSecond(rows: number, ms: number): number {
  return rows > 0 && ms > 0 ? (rows * 1000) / ms : 0;
}
