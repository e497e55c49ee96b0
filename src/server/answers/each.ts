/**
 * One JSON answer made of many small jobs, one for each text of a request: a few at a time, ended when the client
 * leaves.
 */
import type { Context } from "hono";
import type { ResultOf, RunningJob } from "../../link/client.js";
import type { EmbedRequest, RankRequest } from "../../link/protocol.js";
import { asHttpError } from "../http/http-error.js";
import type { Warnings } from "../http/validate.js";
import type { ServerContext } from "../service/context.js";
import type { ServedModel } from "../service/model-service.js";
import { Outlet } from "./outlet.js";
import { outgoingOf } from "./parts.js";

/** Jobs given to the engine at once: enough for a pass of short texts. */
const atOnce = 32;

/** Requests whose results count their tokens. */
type OfText = EmbedRequest | RankRequest;

export interface EachAnswer<Q extends OfText> {
  readonly c: Context;
  readonly context: ServerContext;
  readonly served: ServedModel;
  readonly warnings: Warnings;
  /** Tokens of the texts. */
  encode(): Promise<readonly Int32Array[]>;
  /** A job but for its text. */
  readonly request: Omit<Q, "prompt">;
  /** The client's answer: called once, when all is there. `tokens` is the number of all. */
  body(results: readonly ResultOf<Q>[], tokens: number): object;
}

/**
 * White space keeps the client awake until the whole answer is there; a failure is then an error object in it.
 * @throws HttpError 429 when too many wait; what `encode` throws
 */
export async function respondEach<Q extends OfText>(answer: EachAnswer<Q>): Promise<Response> {
  const release = answer.context.gate.enter(1);
  try {
    return respond(answer, await answer.encode(), release);
  } catch (error) {
    release();
    throw error;
  }
}

function respond<Q extends OfText>(answer: EachAnswer<Q>, texts: readonly Int32Array[], release: () => void): Response {
  const { config, ending, metrics, untaken } = answer.context;
  const jobs = new Jobs(answer, texts);
  const outlet = new Outlet(
    { onFull: () => {}, onDrained: () => {}, onGone: () => jobs.cancel() },
    config.stallTimeoutMs,
    untaken,
    outgoingOf(answer.c),
  );
  const { signal } = answer.c.req.raw;
  const gone = (): void => outlet.gone();
  const cancel = (): void => jobs.cancel();
  signal.addEventListener("abort", gone, { once: true });
  ending.addEventListener("abort", cancel, { once: true });
  if (signal.aborted) gone();
  if (ending.aborted) cancel();
  const timer = setInterval(() => outlet.write("\n"), config.keepAliveMs);
  void jobs
    .all()
    .then((results) => {
      const tokens = (results as readonly ResultOf<OfText>[]).reduce((sum, result) => sum + result.tokens, 0);
      metrics.promptTokens.add(tokens);
      return answer.body(results, tokens);
    })
    .catch((error) => {
      const failure = asHttpError(error);
      if (outlet.open) metrics.failures.add(1, { code: failure.code ?? "other" });
      return failure.body;
    })
    .then((body) => {
      clearInterval(timer);
      signal.removeEventListener("abort", gone);
      ending.removeEventListener("abort", cancel);
      outlet.end(JSON.stringify(body));
      release();
    });
  const headers = { "content-type": "application/json", ...answer.warnings.headers() };
  return new Response(outlet.body, { headers });
}

class Jobs<Q extends OfText> {
  private readonly answer: EachAnswer<Q>;
  private readonly texts: readonly Int32Array[];
  private readonly running = new Set<RunningJob>();
  private ended = false;

  constructor(answer: EachAnswer<Q>, texts: readonly Int32Array[]) {
    this.answer = answer;
    this.texts = texts;
  }

  cancel(): void {
    this.ended = true;
    for (const job of this.running) job.cancel();
  }

  async all(): Promise<ResultOf<Q>[]> {
    const { request, served } = this.answer;
    const count = this.texts.length;
    const results = new Array<ResultOf<Q>>(count);
    let next = 0;
    const worker = async (): Promise<void> => {
      for (let index = next++; index < count; index = next++) {
        const prompt = { kind: "tokens", tokens: this.texts[index]! } as const;
        const job = served.engine.submit({ ...request, prompt } as Q);
        this.running.add(job as RunningJob);
        if (this.ended) job.cancel();
        try {
          results[index] = await job.result;
        } finally {
          this.running.delete(job as RunningJob);
        }
      }
    };
    try {
      await Promise.all(Array.from({ length: Math.min(atOnce, count) }, worker));
    } catch (error) {
      this.cancel();
      throw error;
    }
    return results;
  }
}
