/**
 * Answers a batch by machines behind a queue. The output file stays the truth: bundles are given to the queue as
 * machines take them, answers are taken out, made durable and only then deleted there, and whatever the queue forgets
 * or repeats is given again or thrown away.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Cut } from "../batch/cut.js";
import type { JobQueue, OpenBatch } from "../batch/job-queue.js";
import { readRequestText } from "../batch/request.js";
import { HundredweightError } from "../errors.js";
import { Bundleer, usualBundleBytes } from "./bundles.js";
import { FleetView, presentMachines, queueSeconds } from "./machines.js";
import { type BundlePlace, mostDeaths, Outstanding } from "./outstanding.js";
import { type QueueConnection, reasonOf } from "./redis.js";
import {
  type Bundle,
  type BundleLine,
  type BundleResult,
  ownerKey,
  queueOf,
  type RunRecord,
  readResult,
  runsKey,
  wireVersion,
} from "./wire.js";

const tickMs = 150;
const heartbeatMs = 2000;
/** In the first moments machines come, and in the last ones they end: they are looked at more often. */
const youngMs = 30_000;
const oftenMs = 300;
/** Machines that are counted with before they have said that they are there. */
const firstMachines = 4;
/** A command that submits a batch has it for so long after its last word. */
const ownerMs = 20_000;
/** Requests in the queue at most, as long as all machines have some. */
const usualWindowBytes = 32 * 2 ** 20;
/** A line that failed so often is given up. */
const mostFailures = 3;
/** A cancelled batch waits so long for machines to give back what they have. */
const cancelMs = 45_000;
const nobodyMs = 3000;

export interface FleetOptions {
  readonly connection: QueueConnection;
  /** The batch: its model and options. `at` is written here. */
  readonly run: Omit<RunRecord, "v" | "at" | "queue" | "cancelled">;
  readonly settings: { readonly seed: number; readonly maxTokens: number };
  readonly cut: Cut;
  readonly note: (text: string) => void;
  /** Takes bundles back instead of giving some. */
  readonly cancel?: boolean;
  /** @internal Tests have a small one. */
  readonly windowBytes?: number;
}

export class FleetQueue implements JobQueue {
  readonly view = new FleetView();
  readonly #options: FleetOptions;
  readonly #queue: string;
  readonly #out: Outstanding;
  /** Lines that are with the queue. */
  readonly #given = new Set<number>();
  /** Bundles whose lines are taken care of, and which have only to be deleted. */
  readonly #settled = new Set<string>();
  #saidAt = Number.NEGATIVE_INFINITY;
  #said = "";
  /** All lines are with the queue. */
  #ending = false;
  /** Seconds by Redis's clock: the last heartbeat, and when machines were last asked for what they have not begun. */
  #saidTime = 0;
  #askedAt = 0;
  #began = performance.now();
  readonly #started = performance.now();

  constructor(options: FleetOptions) {
    this.#options = options;
    const { run, connection } = options;
    this.#queue = queueOf(run.mark, run.contextTokens);
    this.#out = new Outstanding(connection, this.#queue, run.id, run.priority);
  }

  get #windowBytes(): number {
    return this.#options.windowBytes ?? usualWindowBytes;
  }

  get #bundleBytes(): number {
    return Math.min(usualBundleBytes, this.#windowBytes / 4);
  }

  /** Bundles that are with the queue. */
  get bundles(): number {
    return this.#out.bundles.size;
  }

  /** @throws OPTION_INVALID when another computer submits the same batch; FILE_IO */
  async answerAll(batch: OpenBatch): Promise<void> {
    const { connection, cancel } = this.#options;
    const stop = (): void => connection.close();
    batch.signal.addEventListener("abort", stop);
    try {
      await this.#own();
      await this.#out.recover();
      for (const { lines } of this.#out.bundles.values()) for (const { number } of lines) this.#given.add(number);
      if (!cancel) await this.#answerHere(batch);
      await this.#heartbeat();
      await this.#work(batch);
      if (!batch.signal.aborted) await this.#leave();
    } catch (error) {
      // The connection was closed under what waited for it.
      if (error instanceof HundredweightError || !batch.signal.aborted) throw asQueueError(error);
    } finally {
      batch.signal.removeEventListener("abort", stop);
    }
  }

  async #work(batch: OpenBatch): Promise<void> {
    const { cancel, cut, note } = this.#options;
    const isWanted = (line: number): boolean => batch.isLeft(line) && !this.#given.has(line);
    const bundleer = new Bundleer(cut, isWanted, this.#bundleBytes);
    this.#began = performance.now();
    while (!batch.signal.aborted) {
      try {
        await this.#heartbeat();
        const places = await this.#out.places();
        await this.#take(batch, places);
        if (cancel) {
          if (await this.#takeBack(places)) return;
        } else {
          if (batch.totals.done >= batch.left) return;
          await this.#fill(batch, bundleer, places);
        }
        this.#said = "";
      } catch (error) {
        if (error instanceof HundredweightError || batch.signal.aborted) throw error;
        const reason = reasonOf(error);
        if (reason !== this.#said) note(`the queue does not do what it is asked (${reason}); it is asked again`);
        this.#said = reason;
        await sleep(1000);
      }
      await sleep(tickMs);
    }
  }

  /** Lines that nobody can be asked. */
  async #answerHere(batch: OpenBatch): Promise<void> {
    if (batch.index.lines === this.#options.cut.length) return;
    for await (const line of batch.input.lines()) {
      if (!batch.isLeft(line.number)) continue;
      const asked = batch.asked(line);
      const fault = batch.faultOf(asked);
      if (fault !== undefined) await batch.deliver(asked, fault);
    }
  }

  /** One command a batch: two would take each other's answers. */
  async #own(): Promise<void> {
    const { connection, run, note } = this.#options;
    const { redis } = connection;
    for (let waited = false; ; waited = true) {
      if ((await redis.set(ownerKey(run.id), run.host, "PX", ownerMs, "NX")) === "OK") return;
      const owner = await redis.get(ownerKey(run.id));
      // On this computer the lock beside the output says that nobody else is there.
      if (owner === run.host) return;
      if (owner !== null && waited)
        throw new HundredweightError("OPTION_INVALID", `${owner} submits this batch; its command has to end first`);
      note(`${owner} submitted this batch last; waiting ${ownerMs / 1000} s whether it still does`);
      await sleep(ownerMs + 500);
    }
  }

  async #heartbeat(): Promise<void> {
    const now = performance.now();
    const often = this.#ending || now - this.#started < youngMs;
    if (now - this.#saidAt < (often ? oftenMs : heartbeatMs)) return;
    const { connection, run, cancel, note } = this.#options;
    const { redis } = connection;
    const at = await queueSeconds(redis);
    const record: RunRecord = {
      ...run,
      v: wireVersion,
      queue: this.#queue,
      at,
      ...(this.#askedAt > 0 && { asked: this.#askedAt }),
      ...(cancel && { cancelled: true }),
    };
    await redis.set(ownerKey(run.id), run.host, "PX", ownerMs);
    await redis.hset(runsKey, run.id, JSON.stringify(record));
    const all = await presentMachines(redis);
    const { came, went } = this.view.look(all, this.#queue);
    for (const { host, lanes } of came) note(`${host} works, ${lanes} lines at a time (${this.#count()})`);
    for (const { host } of went) note(`${host} is gone (${this.#count()})`);
    const nobody = this.view.machines.length === 0 && now - this.#began > nobodyMs;
    if (nobody && !cancel && this.#began > 0) {
      this.#began = Number.POSITIVE_INFINITY; // once
      const others = all.length > 0 ? ` (${all.length} are there with other models or options)` : "";
      note(`no machine has this model yet${others}: hundredweight work --queue ${connection.address.shown} MODEL`);
    }
    this.#saidAt = now;
    this.#saidTime = at;
  }

  #count(): string {
    const { length } = this.view.machines;
    return length === 1 ? "1 machine" : `${length} machines`;
  }

  async #take(batch: OpenBatch, places: ReadonlyMap<string, BundlePlace>): Promise<void> {
    const over: string[] = [];
    for (const [id, { stage, shared }] of places) {
      const parted = this.#out.part(id, shared);
      const bundle = this.#out.bundles.get(id);
      if (bundle === undefined) continue;
      for (const line of parted) await this.#again(batch, { ...bundle, late: true }, [line]);
      if (stage === "waiting" || stage === "taken") continue;
      if (stage === "lost") {
        this.#out.forget(id);
        if (!this.#settled.delete(id)) await this.#again(batch, bundle, bundle.lines);
        continue;
      }
      if (!this.#settled.has(id)) await this.#settle(batch, bundle, await this.#out.end(id), stage === "failed");
      this.#settled.add(id);
      over.push(id);
    }
    if (over.length === 0) return;
    // Only what a loss of power cannot take any more is deleted there.
    await batch.flush();
    for (const id of over) if (await this.#out.remove(id)) this.#settled.delete(id);
  }

  async #settle(
    batch: OpenBatch,
    bundle: Bundle,
    { result, failed }: { readonly result: string | null; readonly failed: string | null },
    dead: boolean,
  ): Promise<void> {
    if (dead) {
      const reason = `the machine that had it died or fell silent ${mostDeaths} times (${failed ?? "no reason"})`;
      return this.#failed(batch, bundle, bundle.lines, reason.slice(0, 300));
    }
    const said = readResult(result);
    if (said === undefined) return this.#failed(batch, bundle, bundle.lines, "a machine's answer could not be read");
    await this.#deliver(batch, bundle, said);
    const left = bundle.lines.filter(({ number }) => batch.isLeft(number));
    if (left.length === 0) return;
    const guilty = new Set(said.left === "failed" ? (said.guilty ?? bundle.lines.map(({ number }) => number)) : []);
    await this.#failed(
      batch,
      bundle,
      left.filter(({ number }) => guilty.has(number)),
      said.reason ?? "a machine gave no reason",
    );
    await this.#again(
      batch,
      bundle,
      left.filter(({ number }) => !guilty.has(number)),
    );
  }

  async #deliver(batch: OpenBatch, { lines }: Bundle, { answers }: BundleResult): Promise<void> {
    const texts = new Map(lines.map(({ number, text }) => [number, text]));
    for (const { number, hash, response, error } of answers) {
      const text = texts.get(number);
      if (text === undefined || !batch.isLeft(number)) continue;
      const asked = readRequestText(number, text);
      // An answer is never taken for that of another question.
      if (asked.hash.toString("hex") !== hash || !batch.index.hasHash(number, asked.hash)) continue;
      await batch.deliver({ number, ...asked }, { response, error });
      this.#given.delete(number);
    }
  }

  async #failed(batch: OpenBatch, bundle: Bundle, lines: readonly BundleLine[], reason: string): Promise<void> {
    const failures = bundle.failures + 1;
    for (const line of lines) {
      if (!batch.isLeft(line.number)) continue;
      if (failures < mostFailures) await this.#give(batch, { ...bundle, lines: [line], failures, reason });
      else {
        const asked = readRequestText(line.number, line.text);
        const message = `given up after ${failures} failures, the last: ${reason}`;
        await batch.deliver(
          { number: line.number, ...asked },
          { response: null, error: { code: "given_up", message } },
        );
      }
    }
  }

  /** Lines that nothing is wrong with. */
  async #again(batch: OpenBatch, bundle: Bundle, lines: readonly BundleLine[]): Promise<void> {
    const left = lines.filter(({ number }) => batch.isLeft(number));
    if (left.length > 0) await this.#give(batch, { ...bundle, lines: left });
  }

  async #give(batch: OpenBatch, bundle: Bundle): Promise<void> {
    if (this.#options.cancel || batch.signal.aborted) return;
    for (const { number } of bundle.lines) this.#given.add(number);
    await this.#out.give(bundle);
  }

  async #fill(batch: OpenBatch, bundleer: Bundleer, places: ReadonlyMap<string, BundlePlace>): Promise<void> {
    const { run, settings } = this.#options;
    const { costPerSecond } = this.view;
    const machines = Math.max(costPerSecond === undefined ? firstMachines : 1, this.view.machines.length);
    let [bundles, lines, bytes] = [0, 0, 0];
    const counted = (bundle: Bundle, waiting: boolean): void => {
      for (const { text } of bundle.lines) bytes += text.length;
      if (!waiting) return;
      bundles++;
      lines += bundle.lines.length;
    };
    for (const [id, bundle] of this.#out.bundles) counted(bundle, places.get(id)?.stage === "waiting");
    const mostBytes = Math.max(this.#windowBytes, 2 * machines * this.#bundleBytes);
    while ((bundles < 2 * machines + 2 || lines < 2 * this.view.lanes) && bytes < mostBytes && !bundleer.ended) {
      const next = bundleer.next({ machines, costPerSecond, lanes: this.view.lanes });
      if (next.lines.length === 0) break;
      const bundle: Bundle = {
        v: wireVersion,
        run: run.id,
        ...settings,
        failures: 0,
        reason: "",
        ...(next.late && { late: true }),
        lines: next.lines.map(({ number, start, bytes: length, cost }) => {
          const asked = batch.asked(batch.input.lineAt(number, start, length));
          return { number, text: asked.line.bytes!.toString("utf8"), cost };
        }),
      };
      counted(bundle, true);
      await this.#give(batch, bundle);
    }
    this.#ending = bundleer.ended;
    if (this.#ending && bundles === 0 && this.view.areUneven) this.#askedAt = this.#saidTime;
  }

  /** @returns whether nothing of the batch is left in the queue */
  async #takeBack(places: ReadonlyMap<string, BundlePlace>): Promise<boolean> {
    const late = performance.now() - this.#began > cancelMs;
    for (const [id, { stage }] of places) if (stage === "waiting" || late) await this.#out.remove(id);
    return this.#out.bundles.size === 0 || late;
  }

  /** Leaves nothing behind. */
  async #leave(): Promise<void> {
    const { connection, run } = this.#options;
    await this.#out.recover();
    for (const id of [...this.#out.bundles.keys()]) await this.#out.remove(id);
    await connection.redis.hdel(runsKey, run.id);
    await connection.redis.del(ownerKey(run.id));
    await this.#out.forgetEvents();
  }
}

function asQueueError(error: unknown): HundredweightError {
  if (error instanceof HundredweightError) return error;
  return new HundredweightError("NETWORK_FAILED", `the queue failed: ${reasonOf(error)}; the same command goes on`);
}
