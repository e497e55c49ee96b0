/** Bundles that were given to the queue and whose answers have not been taken: where they stand, and how they end. */
import type { Job, JobsOptions, Queue } from "bullmq";
import type { QueueConnection } from "./redis.js";
import { prefix } from "./redis.js";
import { type Bundle, type BundleLine, readBundle, readShared } from "./wire.js";

/** A bundle is taken from a machine that is silent, and given to another, so often. */
export const mostDeaths = 5;

/** Where a bundle is. `lost`: Redis forgot it, in a restart without its file. */
export type BundleStage = "waiting" | "taken" | "answered" | "failed" | "lost";

export interface BundlePlace {
  readonly stage: BundleStage;
  /** Lines that the machine which has it gives to others. */
  readonly shared: readonly number[];
}

export class Outstanding {
  readonly bundles = new Map<string, Bundle>();
  readonly #queue: Queue;
  readonly #connection: QueueConnection;
  readonly #run: string;
  readonly #options: JobsOptions;
  #made = 0;

  constructor(connection: QueueConnection, queue: string, run: string, priority: number) {
    this.#connection = connection;
    this.#run = run;
    // One try: what failed is parted here, so that a bad line costs itself only.
    this.#options = { attempts: 1, priority, removeOnComplete: false, removeOnFail: false };
    this.#queue = new connection.bull.Queue(queue, {
      connection: connection.redis,
      prefix,
      // Each event holds the answer once more.
      streams: { events: { maxLen: 1 } },
    });
    this.#queue.on("error", () => {}); // the connection tells it
  }

  /** Takes up what an earlier life of this command put there; what moves on meanwhile is met where it is then. */
  async recover(): Promise<void> {
    for (const state of ["waiting", "prioritized", "delayed", "active", "completed", "failed"] as const) {
      const step = 50;
      for (let at = 0; ; at += step) {
        const jobs: (Job | undefined)[] = await this.#queue.getJobs([state], at, at + step - 1);
        for (const job of jobs) {
          const bundle = job?.id?.startsWith(`${this.#run}-`) ? readBundle(job.data) : undefined;
          if (bundle !== undefined) this.bundles.set(job!.id!, bundle);
        }
        if (jobs.length < step) break;
      }
    }
  }

  async give(bundle: Bundle): Promise<void> {
    // A name of its own, whatever an earlier life has given away.
    const id = `${this.#run}-${Date.now().toString(36)}-${process.pid.toString(36)}-${this.#made++}`;
    this.bundles.set(id, bundle);
    await this.#queue.add("bundle", bundle, { ...this.#options, jobId: id });
  }

  /** Where each bundle is; one question to Redis, however many there are. */
  async places(): Promise<Map<string, BundlePlace>> {
    const ids = [...this.bundles.keys()];
    const asked = this.#connection.redis.pipeline();
    for (const id of ids)
      asked.hmget(this.#key(id), "timestamp", "processedOn", "finishedOn", "failedReason", "progress");
    const answers = (await asked.exec()) ?? [];
    return new Map(
      ids.map((id, i): [string, BundlePlace] => {
        const [error, fields] = answers[i] ?? [];
        if (error || !Array.isArray(fields)) throw error ?? new Error("no answer");
        const [timestamp, processedOn, finishedOn, failedReason, progress] = fields as (string | null)[];
        const shared = readShared(progress);
        if (timestamp === null) return [id, { stage: "lost", shared }];
        if (finishedOn !== null) return [id, { stage: failedReason === null ? "answered" : "failed", shared }];
        return [id, { stage: processedOn === null ? "waiting" : "taken", shared }];
      }),
    );
  }

  /** Takes lines out of a bundle that its machine has given to others. @returns them */
  part(id: string, shared: readonly number[]): BundleLine[] {
    const bundle = this.bundles.get(id);
    if (bundle === undefined || shared.length === 0) return [];
    const numbers = new Set(shared);
    const parted = bundle.lines.filter(({ number }) => numbers.has(number));
    if (parted.length > 0)
      this.bundles.set(id, { ...bundle, lines: bundle.lines.filter(({ number }) => !numbers.has(number)) });
    return parted;
  }

  /** Reads what a machine said, or why BullMQ gave the bundle up. */
  async end(id: string): Promise<{ readonly result: string | null; readonly failed: string | null }> {
    const [result, failed] = await this.#connection.redis.hmget(this.#key(id), "returnvalue", "failedReason");
    return { result: result ?? null, failed: failed ?? null };
  }

  /** @returns false: a machine works on it */
  async remove(id: string): Promise<boolean> {
    const removed = (await this.#queue.remove(id)) === 1;
    if (removed) this.bundles.delete(id);
    return removed;
  }

  /** Forgets a bundle that Redis does not have. */
  forget(id: string): void {
    this.bundles.delete(id);
  }

  /** Deletes what was told of answers while they were there. */
  async forgetEvents(): Promise<void> {
    await this.#connection.redis.del(this.#key("events"));
  }

  #key(id: string): string {
    return this.#queue.toKey(id);
  }
}
