/**
 * One JSON answer made of many small jobs, one for each text of a request: a few at a time, ended when the client
 * leaves.
 */
import type { Context } from "hono";
import type { ResultOf, RunningJob } from "../../link/client.js";
import type { JobRequest } from "../../link/protocol.js";
import { asHttpError } from "../http/http-error.js";
import type { Warnings } from "../http/validate.js";
import type { ServerContext } from "../service/context.js";
import type { ServedModel } from "../service/model-service.js";
import { Outlet } from "./outlet.js";
import { outgoingOf } from "./parts.js";

/** Jobs given to the engine at once: enough for a pass of short texts. */
const atOnce = 32;

export interface EachAnswer<Q extends JobRequest> {
  readonly c: Context;
  readonly context: ServerContext;
  readonly served: ServedModel;
  readonly warnings: Warnings;
  readonly count: number;
  request(index: number): Q;
  /** The client's answer: called once, when all is there. */
  body(results: readonly ResultOf<Q>[]): object;
  /** Gives back the place in the gate. */
  release(): void;
}

/** White space keeps the client awake until the whole answer is there; a failure is then an error object in it. */
export function respondEach<Q extends JobRequest>(answer: EachAnswer<Q>): Response {
  const { config, ending, metrics, untaken } = answer.context;
  const jobs = new Jobs(answer);
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
    .then((results) => answer.body(results))
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
      answer.release();
    });
  const headers = { "content-type": "application/json", ...answer.warnings.headers() };
  return new Response(outlet.body, { headers });
}

class Jobs<Q extends JobRequest> {
  private readonly answer: EachAnswer<Q>;
  private readonly running = new Set<RunningJob>();
  private ended = false;

  constructor(answer: EachAnswer<Q>) {
    this.answer = answer;
  }

  cancel(): void {
    this.ended = true;
    for (const job of this.running) job.cancel();
  }

  async all(): Promise<ResultOf<Q>[]> {
    const { count, request, served } = this.answer;
    const results = new Array<ResultOf<Q>>(count);
    let next = 0;
    const worker = async (): Promise<void> => {
      for (let index = next++; index < count; index = next++) {
        const job = served.engine.submit(request(index));
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
