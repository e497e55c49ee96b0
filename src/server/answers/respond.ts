/**
 * From jobs to an HTTP answer, made for models that need minutes: headers go out before anything is computed, and a
 * client is never left in silence. Streams are what their `Wire` makes of parts, with comments or parts that say
 * nothing in between; an answer in one piece is JSON after as much white space as the waiting took. What fails after
 * that is an error object under status 200.
 */
import type { Context } from "hono";
import type { RolledEvent } from "../../link/protocol.js";
import { leftOutText } from "../../sampling/constraint/left-out.js";
import { asHttpError, type HttpError } from "../http/http-error.js";
import type { Warnings } from "../http/validate.js";
import type { ServerContext } from "../service/context.js";
import type { ServedModel } from "../service/model-service.js";
import { AnswerSet, type ChoiceEvent, type ChoiceJob, type ChoiceOutcome, type Progress } from "./answer-set.js";
import { lostText, type PrefixEvent, prefixHeader, prefixText } from "./lost-prefix.js";
import { Outlet } from "./outlet.js";
import { outgoingOf } from "./parts.js";
import type { Wire } from "./wire.js";

/** One kind of answer: what is said at which moment. Objects are sent as JSON. */
export interface ResponseShape {
  readonly wire: Wire;
  /** Chunks that go out with the headers. */
  start?(): readonly object[] | undefined;
  /** Chunks for an event; may need the text worker for the texts of tokens. */
  chunks(choice: number, event: ChoiceEvent): readonly object[] | Promise<readonly object[]>;
  progress(progress: Progress, elapsedMs: number): object | undefined;
  /** The context was full and the answer went on: chunks without text that have these fields. */
  rolled?(choice: number, fields: object): readonly object[];
  /** Chunks that say nothing: many clients drop comments unseen and take a long silence for the end. */
  alive?(): readonly object[] | undefined;
  /** Chunks that end the stream. */
  last(outcomes: readonly ChoiceOutcome[]): readonly object[] | Promise<readonly object[]>;
  whole(outcomes: readonly ChoiceOutcome[]): object | Promise<object>;
  /** Tells of a failure after the headers: the last chunk, or the whole answer. */
  failure(error: HttpError, stream: boolean): object;
  /** Called once, when nothing more comes: with no outcomes when the answer failed. */
  ended?(outcomes: readonly ChoiceOutcome[]): void;
}

interface ResponseOptions {
  readonly c: Context;
  readonly context: ServerContext;
  readonly served: ServedModel;
  readonly choices: readonly ChoiceJob[];
  readonly shape: ResponseShape;
  readonly stream: boolean;
  readonly maxTimeMs: number | undefined;
  readonly warnings: Warnings;
  /** `performance.now()` when the request came. */
  readonly arrived: number;
  /** Called once, when nothing of the request is left. */
  readonly release: () => void;
}

/** How long a refusal of the engine is waited for before the headers go out. */
const acceptMs = 100;

/** @throws HttpError while no header is out; `release` is then the caller's to call */
export async function respond(options: ResponseOptions): Promise<Response> {
  await checkForm(options);
  const answer = new Answer(options);
  await answer.start();
  return answer.response;
}

/** The form of the answers, all the same: what of it is not enforced is told in the header. */
async function checkForm({ served, choices, warnings }: ResponseOptions): Promise<void> {
  const constraint = choices[0]?.request.constraint;
  if (constraint === undefined) return;
  const leftOut = await served.text.perform({ kind: "checkConstraint", constraint });
  if (leftOut.length > 0) warnings.add(leftOutText(leftOut));
}

class Answer {
  private readonly options: ResponseOptions;
  private readonly outlet: Outlet;
  private readonly set: AnswerSet;
  private readonly timers: NodeJS.Timeout[] = [];
  /** Events are worked off in order, also when one waits for the text worker. */
  private work: Promise<void> | undefined;
  private fault: unknown;
  private begun = false;
  private prefix: PrefixEvent | undefined;
  private readonly began = performance.now();
  /** Rows of the prompt of which the client was told. */
  private told = -1;

  constructor(options: ResponseOptions) {
    this.options = options;
    const { c, context, served, choices } = options;
    this.set = new AnswerSet(
      served.engine,
      choices,
      (choice, event) => this.event(choice, event),
      () => this.tellProgress(),
      (prefix) => {
        this.prefix = prefix;
        const lost = lostText(prefix);
        if (lost !== undefined) context.log(lost);
      },
      (choice, event) => this.tellRolled(choice, event),
    );
    const gone = (): void => {
      context.metrics.aborted.add();
      this.set.cancel();
    };
    this.outlet = new Outlet(
      { onFull: () => this.set.pause(), onDrained: () => this.set.resume(), onGone: gone },
      context.config.stallTimeoutMs,
      context.untaken,
      outgoingOf(c),
    );
  }

  get response(): Response {
    const { stream, warnings, shape } = this.options;
    const type = stream ? shape.wire.contentType : "application/json";
    // nginx buffers streams unless told not to.
    const { prefix } = this;
    const headers = {
      "content-type": type,
      "x-accel-buffering": "no",
      ...warnings.headers(),
      ...(prefix !== undefined && { [prefixHeader]: prefixText(prefix) }),
    };
    return new Response(this.outlet.body, { headers });
  }

  async start(): Promise<void> {
    const { c, context, maxTimeMs, arrived } = this.options;
    const { answerTimeoutMs } = context.config;
    const { signal } = c.req.raw;
    const onAbort = (): void => this.outlet.gone();
    const onEnding = (): void => this.set.cut("shutdown");
    signal.addEventListener("abort", onAbort, { once: true });
    context.ending.addEventListener("abort", onEnding, { once: true });
    if (signal.aborted) onAbort();
    if (context.ending.aborted) onEnding();
    const own = maxTimeMs ?? Infinity;
    const limit = Math.min(answerTimeoutMs > 0 ? answerTimeoutMs : Infinity, own);
    if (limit !== Infinity) {
      // A timer of more than 2^31 ms fires at once.
      const left = Math.min(2 ** 31 - 1, Math.max(0, limit - (performance.now() - arrived)));
      this.timers.push(setTimeout(() => this.set.cut(limit === own ? "asked" : "deadline"), left));
    }
    const stop = (): void => {
      for (const timer of this.timers) clearTimeout(timer);
      signal.removeEventListener("abort", onAbort);
      context.ending.removeEventListener("abort", onEnding);
    };
    try {
      await this.set.accepted(acceptMs);
    } catch (error) {
      stop();
      this.fail(error);
      throw error;
    }
    this.keepAlive();
    void this.finish().finally(() => {
      stop();
      this.options.release();
    });
  }

  private keepAlive(): void {
    const { stream, context, shape } = this.options;
    const { began } = this;
    const { keepAliveMs } = context.config;
    this.begin();
    if (stream) this.say("accepted");
    // Looked at twice as often as needed, so that no silence is longer than the limit by more than half.
    const timer = setInterval(
      () => {
        const { outlet } = this;
        if (outlet.full || !outlet.open) return;
        if (outlet.silentMs < keepAliveMs / 2) return;
        if (stream) this.say(progressText(this.set.progress, performance.now() - began), shape.alive?.());
        else outlet.write("\n");
      },
      Math.min(1000, keepAliveMs / 2),
    );
    this.timers.push(timer);
  }

  /** Tells what was there from before first: the rest is counted from it. */
  private tellProgress(): void {
    const { stream, shape } = this.options;
    if (!stream || this.outlet.full || !this.outlet.open) return;
    const { progress } = this.set;
    const { cached, done } = progress;
    if (cached === undefined || done <= this.told) return;
    for (const rows of this.told < 0 && cached < done ? [cached, done] : [done]) {
      const chunk = shape.progress({ ...progress, done: rows }, performance.now() - this.began);
      if (chunk !== undefined) this.send(chunk);
    }
    this.told = done;
  }

  private tellRolled(choice: number, { how, keep, discard, leftOut }: RolledEvent): void {
    const { context, stream, shape } = this.options;
    context.log(`a context was full: ${how}, ${discard} tokens behind the first ${keep} left out, ${leftOut} in all`);
    const told = { how, n_keep: keep, n_discard: discard, left_out: leftOut };
    const chunk = stream ? shape.rolled?.(choice, { context_rolled: told }) : undefined;
    if (chunk === undefined) return;
    if (this.work === undefined) this.sendAll(chunk);
    else this.queue(this.work.then(() => this.sendAll(chunk)));
  }

  private event(choice: number, event: ChoiceEvent): void {
    this.begin();
    if (event.kind === "token") this.tellProgress();
    const handle = (): void | Promise<void> => {
      const chunks = this.options.shape.chunks(choice, event);
      if (chunks instanceof Promise) return chunks.then((made) => this.sendAll(made));
      this.sendAll(chunks);
    };
    if (this.work === undefined) {
      const done = handle();
      if (done !== undefined) this.queue(done);
    } else this.queue(this.work.then(handle));
  }

  private queue(work: Promise<void>): void {
    const settled = work.catch((error: unknown) => {
      this.fault ??= error;
      this.set.cancel();
    });
    this.work = settled;
    void settled.then(() => {
      if (this.work === settled) this.work = undefined;
    });
  }

  private async finish(): Promise<void> {
    const { stream, shape } = this.options;
    let last = "";
    let ended: readonly ChoiceOutcome[] = [];
    this.begin();
    try {
      const outcomes = await this.set.done().catch((error) => Promise.reject(this.fault ?? error));
      while (this.work !== undefined) await this.work;
      if (this.fault !== undefined) throw this.fault;
      this.count(outcomes);
      if (stream) {
        this.sendAll(await shape.last(outcomes));
        last = shape.wire.end;
      } else last = JSON.stringify(await shape.whole(outcomes));
      ended = outcomes;
    } catch (error) {
      if (this.outlet.open) {
        const said = shape.failure(this.fail(error), stream);
        last = stream ? shape.wire.frame(said) : JSON.stringify(said);
      }
    }
    shape.ended?.(ended);
    this.outlet.end(last);
  }

  private fail(error: unknown) {
    const failure = asHttpError(error);
    const { metrics, log } = this.options.context;
    metrics.failures.add(1, { code: failure.code ?? "other" });
    if (failure.code === "internal_error") log(`answer failed: ${failure.trace}`);
    return failure;
  }

  private sendAll(chunks: readonly object[]): void {
    if (this.options.stream) for (const chunk of chunks) this.send(chunk);
  }

  /** Before everything else: a first event may be there before the headers are. */
  private begin(): void {
    if (this.begun || !this.options.stream) return;
    this.begun = true;
    this.sendAll(this.options.shape.start?.() ?? []);
  }

  private send(chunk: object): void {
    this.outlet.write(this.options.shape.wire.frame(chunk));
  }

  /** Something to keep a client awake: people read comments, programs chunks. */
  private say(comment: string, chunks: readonly object[] = []): void {
    const text = this.options.shape.wire.comment(comment);
    if (text !== "") this.outlet.write(text);
    this.sendAll(chunks);
  }

  private count(outcomes: readonly ChoiceOutcome[]): void {
    const { context, choices, arrived } = this.options;
    const { metrics } = context;
    const elapsed = performance.now() - arrived;
    metrics.requestSeconds.observe(elapsed / 1000);
    choices.forEach(({ tokens }, i) => {
      const { result, tokens: made } = outcomes[i]!;
      metrics.promptTokens.add(tokens.length);
      metrics.cachedTokens.add(result?.reusedTokens ?? 0);
      metrics.generatedTokens.add(made);
      for (const [source, { tried, right }] of Object.entries(result?.drafts ?? {})) {
        metrics.draftTokens.add(tried, { source });
        metrics.acceptedDraftTokens.add(right, { source });
      }
      const guesses = Object.values(result?.drafts ?? {});
      const right = guesses.reduce((sum, one) => sum + one.right, 0);
      // A pass makes a token of its own and those that were guessed right; the first one is the prompt's.
      if (guesses.some(({ tried }) => tried > 0)) metrics.draftedPasses.add(Math.max(0, made - 1 - right));
      if (result === undefined) return;
      metrics.promptSeconds.add(result.prefillMs / 1000);
      metrics.decodeSeconds.add(result.decodeMs / 1000);
      if (result.decodeRows > 0) {
        metrics.tokenSeconds.observe(result.decodeMs / 1000 / result.decodeRows);
      }
    });
    const { firstTokenMs } = this.set;
    if (firstTokenMs !== undefined) metrics.firstTokenSeconds.observe(firstTokenMs / 1000);
  }
}

function progressText({ ahead, done, total, generated }: Progress, elapsedMs: number): string {
  const elapsed = `${Math.round(elapsedMs / 1000)} s`;
  if (generated > 0) return `${generated} tokens, ${elapsed}`;
  return ahead > 0 ? `queued, ${ahead} before, ${elapsed}` : `prompt ${done}/${total} tokens, ${elapsed}`;
}
