/**
 * Takes bundles of one queue and answers their lines. Locks are renewed by this thread, which never computes: an
 * engine is a process of its own, and texts are handled in another.
 */
import type { Job, Worker } from "bullmq";
import { defaultsOf, type LineAnswer, linesAhead } from "../batch/line-answer.js";
import { maxAnswerBytes } from "../batch/output.js";
import { type BatchRequest, readRequestText } from "../batch/request.js";
import { Lanes } from "./lanes.js";
import { mostDeaths } from "./outstanding.js";
import { prefix, type QueueConnection, reasonOf } from "./redis.js";
import {
  type Bundle,
  type BundleAnswer,
  type BundleLine,
  type BundleResult,
  fullBytes,
  type LeftReason,
  readBundle,
  wireVersion,
} from "./wire.js";

/** Seconds in which the queue is asked once whether there is something. */
const waitSeconds = 1;

/** Answers lines, several at a time. */
export interface LineEngine {
  readonly lanes: number;
  /** Made so far. */
  readonly tokens: number;
  /** @throws what ends the engine, and not just the line */
  answer(request: BatchRequest, defaults: Record<string, unknown>, signal: AbortSignal): Promise<LineAnswer>;
  close(): Promise<void>;
}

interface Held {
  readonly controller: AbortController;
  readonly run: string;
  readonly job: Job;
  /** Lines that the engine has or had. */
  readonly begun: Set<number>;
  readonly lines: readonly BundleLine[];
}

interface RunningLine {
  readonly held: Held;
  readonly line: number;
  readonly controller: AbortController;
}

/** Why work on a bundle was broken off. `lost`: it is another machine's by now. */
type Break = Exclude<LeftReason, "full" | "failed"> | "lost";

export interface BundleWorkerOptions {
  readonly connection: QueueConnection;
  readonly queue: string;
  readonly id: string;
  readonly engine: LineEngine;
  readonly leaseMs: number;
  readonly note: (text: string) => void;
  /** Called when a bundle is answered. */
  readonly onBundle?: () => void;
}

export class BundleWorker {
  /** The cost of lines that are answered. */
  cost = 0;
  /** Lines answered. */
  done = 0;
  /** The error that ended the engine. */
  fault: Error | undefined;
  readonly #options: BundleWorkerOptions;
  readonly #worker: Worker;
  readonly #lanes: Lanes;
  readonly #held = new Map<string, Held>();
  /** Lines that the engine has, in the order in which it got them. */
  readonly #running = new Set<RunningLine>();
  readonly #tasks = new Set<Promise<void>>();
  readonly #renewal: NodeJS.Timeout;
  #renewing = false;

  constructor(options: BundleWorkerOptions) {
    this.#options = options;
    const { connection, queue, leaseMs, engine } = options;
    this.#lanes = new Lanes(engine.lanes + linesAhead);
    this.#worker = new connection.bull.Worker(queue, null, {
      connection: connection.redis,
      prefix,
      autorun: false,
      lockDuration: leaseMs,
      stalledInterval: leaseMs,
      maxStalledCount: mostDeaths,
      drainDelay: waitSeconds,
    });
    this.#worker.on("error", () => {}); // the connection tells it
    this.#renewal = setInterval(() => void this.#renew(), leaseMs / 3);
  }

  get busyMs(): number {
    return this.#lanes.busyMs;
  }

  get bundles(): number {
    return this.#held.size;
  }

  /** Lines that are here and that the engine has not come to. */
  get ahead(): number {
    return Math.max(0, this.#lanes.waiting + this.#lanes.running - this.#options.engine.lanes);
  }

  /** Lines that would be begun at once if they were here. */
  get free(): number {
    return Math.max(0, this.#options.engine.lanes - this.#lanes.waiting - this.#lanes.running);
  }

  /** Looks after bundles of machines that are silent. */
  async start(): Promise<void> {
    await this.#worker.waitUntilReady();
    await this.#worker.startStalledCheckTimer();
  }

  /** Takes a bundle when there is room, and begins with it. @returns whether there was one */
  async take(): Promise<boolean> {
    if (!this.#lanes.hasRoom) {
      await this.#lanes.room();
      return true;
    }
    const job = (await this.#worker.getNextJob(this.#options.id)) as Job | undefined;
    if (job?.id === undefined) return false;
    const task = this.#answer(job, job.id).catch((error: unknown) => {
      this.#options.note(`a bundle could not be given back (${reasonOf(error)}); it is answered again`);
    });
    this.#tasks.add(task);
    void task.finally(() => this.#tasks.delete(task));
    return true;
  }

  /** Breaks off bundles. What is answered is given back. */
  stop(why: Break, which: (held: { readonly run: string }) => boolean = () => true): void {
    for (const held of this.#held.values()) if (which(held)) held.controller.abort(why);
  }

  /** Gives what the engine has not come to to others, who have nothing. */
  async share(run: string): Promise<void> {
    const { engine } = this.#options;
    this.#lanes.most = engine.lanes;
    // The engine comes to lines in their order.
    for (const { held, line, controller } of [...this.#running].slice(engine.lanes)) {
      if (held.run !== run) continue;
      held.begun.delete(line);
      controller.abort();
    }
    for (const held of [...this.#held.values()]) {
      const left = held.lines.filter(({ number }) => !held.begun.has(number)).map(({ number }) => number);
      if (held.run !== run || left.length === 0) continue;
      this.#lanes.drop(held);
      await held.job.updateProgress({ left });
    }
  }

  /** Resolves when nothing is held. */
  async idle(): Promise<void> {
    while (this.#tasks.size > 0) await Promise.all(this.#tasks);
  }

  async close(): Promise<void> {
    clearInterval(this.#renewal);
    await this.#worker.close(true).catch(() => {});
  }

  async #renew(): Promise<void> {
    const ids = [...this.#held.keys()];
    if (ids.length === 0 || this.#renewing) return;
    this.#renewing = true;
    try {
      const tokens = ids.map(() => this.#options.id);
      const lost = await this.#worker.extendJobLocks(ids, tokens, this.#options.leaseMs);
      for (const id of lost) this.#held.get(id)?.controller.abort("lost");
    } catch {
      // The next time; whose lock ran out meanwhile hears it then.
    } finally {
      this.#renewing = false;
    }
  }

  async #answer(job: Job, id: string): Promise<void> {
    const bundle = readBundle(job.data);
    if (bundle === undefined) {
      await this.#give(job, { answers: [], left: "failed", reason: "it is no bundle that this version reads" });
      return;
    }
    // At the end of a batch lines that wait here are lines that others could answer.
    this.#lanes.most = this.#options.engine.lanes + (bundle.late ? 0 : linesAhead);
    const { run, lines } = bundle;
    const held: Held = { controller: new AbortController(), run, job, begun: new Set(), lines };
    this.#held.set(id, held);
    try {
      const result = await this.#answerLines(bundle, held);
      if (result !== undefined) await this.#give(job, result);
    } finally {
      this.#held.delete(id);
    }
    this.#options.onBundle?.();
  }

  /** Undefined: the bundle is not ours any more. */
  async #answerLines(bundle: Bundle, held: Held): Promise<Omit<BundleResult, "v" | "machine"> | undefined> {
    const { signal } = held.controller;
    const answers: BundleAnswer[] = [];
    const guilty: number[] = [];
    let bytes = 0;
    let reason: string | undefined;
    const one = async (line: BundleLine): Promise<void> => {
      if (signal.aborted || this.fault !== undefined || bytes > fullBytes) return;
      held.begun.add(line.number);
      const controller = new AbortController();
      const running = { held, line: line.number, controller };
      this.#running.add(running);
      try {
        const answer = await this.#answerLine(line, bundle, AbortSignal.any([signal, controller.signal]));
        if (signal.aborted || controller.signal.aborted) return;
        answers.push(answer.said);
        bytes += answer.bytes;
        this.done++;
        this.cost += line.cost;
      } catch (error) {
        if (signal.aborted || controller.signal.aborted) return;
        this.fault ??= error as Error;
        reason ??= reasonOf(error);
        guilty.push(line.number);
      } finally {
        this.#running.delete(running);
      }
    };
    // Who has failed before is looked at alone: nobody else is to suffer.
    const alone = bundle.failures > 0;
    await Promise.all(bundle.lines.map((line) => this.#lanes.run(() => one(line), { alone, owner: held })));
    if (answers.length === bundle.lines.length) return { answers };
    if (signal.aborted) return signal.reason === "lost" ? undefined : { answers, left: signal.reason as LeftReason };
    if (reason !== undefined) return { answers, left: "failed", guilty, reason };
    if (this.fault !== undefined) return { answers, left: "drained" };
    return { answers, left: held.begun.size < bundle.lines.length && bytes <= fullBytes ? "shared" : "full" };
  }

  async #answerLine(
    { number, text }: BundleLine,
    { seed, maxTokens }: Bundle,
    signal: AbortSignal,
  ): Promise<{ readonly said: BundleAnswer; readonly bytes: number }> {
    const { request, hash } = readRequestText(number, text);
    const { response, error }: LineAnswer =
      "url" in request
        ? await this.#options.engine.answer(request, defaultsOf(request, number, { seed, maxTokens }), signal)
        : { response: null, error: { code: "invalid_line", message: request.fault } };
    const said = { number, hash: hash.toString("hex"), response, error };
    const bytes = Buffer.byteLength(JSON.stringify(said));
    if (bytes <= maxAnswerBytes / 2) return { said, bytes };
    const message = `the answer is longer than ${maxAnswerBytes / 2} bytes`;
    return { said: { ...said, response: null, error: { code: "answer_too_long", message } }, bytes: 0 };
  }

  async #give(job: Job, result: Omit<BundleResult, "v" | "machine">): Promise<void> {
    const { id } = this.#options;
    await job.moveToCompleted({ v: wireVersion, machine: id, ...result } satisfies BundleResult, id, false);
  }
}
