/** Answers the lines of a batch in this process, as many at a time as pay. */
import { once, setMaxListeners } from "node:events";
import type { BatchTotals, JobQueue, OpenBatch } from "../../batch/job-queue.js";
import { answerLine, defaultsOf, linesAhead } from "../../batch/line-answer.js";
import type { Line } from "../../batch/lines.js";
import type { BatchRequest } from "../../batch/request.js";
import { type OfflineServer, openOffline } from "../../server/index.js";
import { loadOptions, type ModelFlags } from "../options/model-options.js";
import { type PastFlags, pastOptions } from "../options/past-options.js";
import { whileLoading } from "../terminal/loading.js";
import { TokenProgress, type TokensDone } from "../terminal/token-progress.js";
import { type BatchShape, batchShape, needsOf } from "./shape.js";

export interface EngineFlags extends ModelFlags, PastFlags {
  parallel?: number;
  maxTokens?: number;
  seed?: number;
}

export class LocalQueue implements JobQueue {
  readonly #path: string;
  readonly #flags: EngineFlags;

  constructor(path: string, flags: EngineFlags) {
    this.#path = path;
    this.#flags = flags;
  }

  async answerAll(batch: OpenBatch): Promise<void> {
    const { signal } = batch;
    const shape = await batchShape(
      this.#path,
      { ...loadOptions(this.#flags), ...pastOptions(this.#flags) },
      needsOf(batch.index),
      this.#flags.parallel,
    );
    const sequences = Math.min(shape.sequences, batch.left);
    const server = await openBatchEngine(this.#path, this.#flags, { ...shape, sequences });
    const progress = new TokenProgress("", () => tokensDone(server, batch.totals, batch.left), {
      forced: this.#flags.progress,
    });
    const running = new Set<Promise<void>>();
    setMaxListeners(0, signal);
    const aborted = once(signal, "abort");
    let fault: unknown;
    const step = async (line: Line): Promise<void> => {
      const asked = batch.asked(line);
      const said =
        batch.faultOf(asked) ?? (await this.#answer(server, asked.number, asked.request as BatchRequest, signal));
      if (fault === undefined && !signal.aborted) await batch.deliver(asked, said);
    };
    try {
      for await (const line of batch.input.lines()) {
        if (!batch.index.has(line.number)) break; // the file has grown
        if (!batch.isLeft(line.number)) continue;
        while (running.size >= sequences + linesAhead && !signal.aborted) await Promise.race([...running, aborted]);
        if (fault !== undefined || signal.aborted) break;
        const job = step(line).catch((error: unknown) => {
          fault ??= error;
        });
        running.add(job);
        void job.finally(() => running.delete(job));
      }
      // What is interrupted may never be answered; closing the server ends it.
      await Promise.race([Promise.all(running), aborted]);
      if (fault !== undefined && !signal.aborted) throw fault;
    } finally {
      progress.end();
      await server.close();
    }
  }

  #answer({ app }: OfflineServer, number: number, request: BatchRequest, signal: AbortSignal) {
    return answerLine(app, request, defaultsOf(request, number, this.#flags), { signal });
  }
}

/** An engine for lines of batches. @throws whatever opening the model throws */
export function openBatchEngine(
  path: string,
  flags: ModelFlags & PastFlags,
  shape: BatchShape,
): Promise<OfflineServer> {
  return whileLoading(flags.progress, (onLoading) =>
    openOffline({
      modelPath: path,
      engine: { ...loadOptions(flags), ...pastOptions(flags), ...shape },
      // Who writes a batch is not hurried and asks for as much as he likes; how many lines run at once is bounded here.
      config: { maxAnswers: 1e6, maxBodyBytes: 2 ** 26, maxIntakeBytes: Infinity, textTimeoutMs: 60_000 },
      onLoading,
    }),
  );
}

/** Lines that are left take as many tokens as the mean of those that are done. */
function tokensDone({ context }: OfflineServer, { done, generatedTokens }: BatchTotals, total: number): TokensDone {
  // Beyond what lines that are done have told, the engine counts what it makes for the others.
  const tokens = Math.max(generatedTokens, context.status.latest?.generatedTokens ?? 0);
  const expected = done === 0 ? undefined : (generatedTokens / done) * total;
  return { done, total, tokens, ...(expected !== undefined && { tokensLeft: Math.max(0, expected - tokens) }) };
}
