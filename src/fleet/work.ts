/** A machine of a fleet: finds batches that want its model, opens it, and answers bundles for as long as it is let. */
import { randomBytes } from "node:crypto";
import { hostname } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { HundredweightError } from "../errors.js";
import { BundleWorker, type LineEngine } from "./bundle-worker.js";
import { openRuns, queueSeconds } from "./machines.js";
import { type QueueConnection, reasonOf } from "./redis.js";
import { difference, type MachineRecord, type ModelMark, machinesKey, type RunRecord, wireVersion } from "./wire.js";

/** Between looks whether the queue is away. */
const awayMs = 100;
const heartbeatMs = 1000;
/** An engine that ends so often without an answer in between is not the lines' fault. */
const mostFaults = 4;
const faultWaitMs = 1000;

/** Needs that an engine is opened for. */
export type EngineNeeds = Pick<RunRecord, "contextTokens" | "typicalTokens" | "longestTokens">;

export interface FleetWorkerOptions {
  readonly connection: QueueConnection;
  readonly mark: ModelMark;
  /** The context of `--ctx`: no other is worked with. */
  readonly contextTokens?: number | undefined;
  readonly open: (needs: EngineNeeds) => Promise<LineEngine>;
  /** Silent for so long, a machine is taken for dead. */
  readonly leaseMs: number;
  /** Lines that run when it is to end have so long. */
  readonly drainMs: number;
  /** Without work for so long it ends; undefined: never. */
  readonly idleMs?: number | undefined;
  readonly note: (text: string) => void;
}

export interface WorkDone {
  lines: number;
  tokens: number;
}

export class FleetWorker {
  readonly #options: FleetWorkerOptions;
  readonly #id = `${hostname()}-${process.pid}-${randomBytes(4).toString("hex")}`;
  readonly #done: WorkDone = { lines: 0, tokens: 0 };
  readonly #refused = new Set<string>();
  #cost = 0;
  #busyMs = 0;
  #idleSince = performance.now();
  #faults = 0;

  constructor(options: FleetWorkerOptions) {
    this.#options = options;
  }

  /**
   * Works until it is stopped.
   * @param stopping takes no more; lines that run may end
   * @param ending does not wait for them either
   * @throws QUEUE_MISMATCH when batches wait and none wants what is here; what opening the model throws
   */
  async work(stopping: AbortSignal, ending: AbortSignal): Promise<WorkDone> {
    const { connection, note } = this.#options;
    await this.#refuseMismatch();
    note(`waiting for work at ${connection.address.shown}`);
    while (!stopping.aborted && !this.#idledOut()) {
      const run = await this.#unlessAway(this.#nextRun(), stopping);
      if (run === undefined) await pause(200, stopping);
      else await this.#serve(run, stopping, ending);
    }
    return this.#done;
  }

  #idledOut(): boolean {
    const { idleMs } = this.#options;
    return idleMs !== undefined && performance.now() - this.#idleSince > idleMs;
  }

  #mismatch(run: RunRecord): string | undefined {
    const { mark, contextTokens } = this.#options;
    if (contextTokens !== undefined && contextTokens !== run.contextTokens)
      return `another context (--ctx): ${run.contextTokens} is asked for, here is ${contextTokens}`;
    return difference(run.mark, mark);
  }

  /** A machine that was started for nothing says so, before it loads anything. */
  async #refuseMismatch(): Promise<void> {
    const runs = await openRuns(this.#options.connection.redis);
    const reasons = runs.map((run) => this.#mismatch(run));
    if (runs.length === 0 || reasons.includes(undefined)) return;
    throw new HundredweightError("QUEUE_MISMATCH", `the batch of ${runs[0]!.host} wants ${reasons[0]}`);
  }

  /** The most urgent batch that can be answered here. */
  async #nextRun(): Promise<RunRecord | undefined> {
    const { connection, note } = this.#options;
    for (const run of await openRuns(connection.redis)) {
      const why = this.#mismatch(run);
      if (why === undefined && !run.cancelled) return run;
      if (why !== undefined && !this.#refused.has(run.id)) note(`a batch of ${run.host} is left to others: ${why}`);
      this.#refused.add(run.id);
    }
    return undefined;
  }

  async #serve(run: RunRecord, stopping: AbortSignal, ending: AbortSignal): Promise<void> {
    const { connection, leaseMs, note, open } = this.#options;
    const engine = await open(run);
    const worker = new BundleWorker({
      connection,
      queue: run.queue,
      id: this.#id,
      engine,
      leaseMs,
      note,
      onBundle: () => void beat(),
    });
    let queue = true;
    let beating = false;
    const heard = new Map(Object.entries({ [run.id]: run.asked ?? 0 }));
    const beat = async (): Promise<void> => {
      if (beating) return;
      beating = true;
      try {
        await this.#tell(run.queue, engine, worker);
        const runs = await openRuns(connection.redis);
        const cancelled = new Set(runs.filter((each) => each.cancelled).map(({ id }) => id));
        worker.stop("cancelled", (held) => cancelled.has(held.run));
        for (const { id, asked = 0 } of runs) {
          if (asked > (heard.get(id) ?? 0)) await worker.share(id);
          heard.set(id, asked);
        }
        // Another queue has its turn when this one is empty.
        queue = runs.some((each) => each.queue === run.queue && !each.cancelled);
      } catch {
        // The connection tells it.
      } finally {
        beating = false;
      }
    };
    const heart = setInterval(() => void beat(), heartbeatMs);
    try {
      await this.#unlessAway(worker.start().then(beat), stopping);
      while (!stopping.aborted && worker.fault === undefined && (queue || worker.bundles > 0) && !this.#idledOut()) {
        await this.#unlessAway(this.#take(worker), stopping);
        if (worker.bundles > 0) this.#idleSince = performance.now();
      }
      await this.#drain(worker, ending);
      if (worker.done > 0) this.#faults = 0;
    } finally {
      clearInterval(heart);
      await this.#unlessAway(worker.close());
      this.#done.lines += worker.done;
      this.#done.tokens += engine.tokens;
      this.#cost += worker.cost;
      this.#busyMs += worker.busyMs;
      await this.#unlessAway(connection.redis.hdel(machinesKey, this.#id).catch(() => {}));
      await engine.close();
    }
    if (worker.fault !== undefined) await this.#afterFault(worker.fault);
  }

  async #take(worker: BundleWorker): Promise<void> {
    try {
      await worker.take();
    } catch {
      // The connection tells that the queue is away.
      await sleep(500);
    }
  }

  async #drain(worker: BundleWorker, ending: AbortSignal): Promise<void> {
    const stop = (): void => worker.stop("drained");
    const ended = new AbortController();
    const end = (): void => {
      stop();
      ended.abort();
    };
    const late = setTimeout(end, ending.aborted ? 0 : this.#options.drainMs);
    ending.addEventListener("abort", end);
    // Answers that nobody takes are made again by others.
    await this.#unlessAway(worker.idle(), ended.signal);
    clearTimeout(late);
    ending.removeEventListener("abort", end);
  }

  /**
   * Waits for what the queue is asked; once stopped, not while it is away: it may never come back.
   * @param stopping absent: stopped already
   * @returns undefined when it was not waited for
   */
  async #unlessAway<T>(asked: Promise<T>, stopping?: AbortSignal): Promise<T | undefined> {
    const waited = new AbortController();
    const gone = async (): Promise<undefined> => {
      while (!waited.signal.aborted) {
        if (stopping?.aborted !== false && this.#options.connection.away) return undefined;
        await pause(awayMs, waited.signal);
      }
      return undefined;
    };
    try {
      return await Promise.race([asked, gone()]);
    } finally {
      waited.abort();
      asked.catch(() => {});
    }
  }

  async #tell(queue: string, engine: LineEngine, worker: BundleWorker): Promise<void> {
    const { redis } = this.#options.connection;
    const record: MachineRecord = {
      v: wireVersion,
      id: this.#id,
      host: hostname(),
      queue,
      lanes: engine.lanes,
      tokens: this.#done.tokens + engine.tokens,
      cost: this.#cost + worker.cost,
      busyMs: this.#busyMs + worker.busyMs,
      ahead: worker.ahead,
      free: worker.free,
      at: await queueSeconds(redis),
    };
    await redis.hset(machinesKey, this.#id, JSON.stringify(record));
  }

  /** @throws the fault when it is not the lines' */
  async #afterFault(fault: Error): Promise<void> {
    this.#faults++;
    const changed = fault instanceof HundredweightError && fault.code === "MODEL_CHANGED";
    if (changed || this.#faults >= mostFaults) throw fault;
    this.#options.note(`the engine ended (${reasonOf(fault)}); it is opened again`);
    await sleep(faultWaitMs * this.#faults);
  }
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal }).catch(() => {});
}
