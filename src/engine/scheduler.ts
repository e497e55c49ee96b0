/**
 * Continuous batching: jobs join and leave between passes, and one pass serves the rows of all that run (rows.ts: which).
 *
 * A job is admitted when there are KV pages for it and for those that run to grow (promises.ts); the others wait their turn,
 * and nobody is overtaken by one that comes after, so that long ones are not starved. When pages run out the youngest goes
 * back to the front of the queue.
 */
import { setImmediate as yieldToEvents } from "node:timers/promises";
import { asHundredweightError, HundredweightError } from "../errors.js";
import type { KvCache } from "../kv/cache.js";
import { pagePositions } from "../ops/ops.js";
import type { Ledger, PassTraffic } from "../weights/ledger.js";
import { Accounts } from "./accounts.js";
import type { StopSignal } from "./cancel.js";
import type { EngineParts } from "./parts.js";
import type { Pass, PassPart } from "./pass.js";
import { PassClock } from "./pass-clock.js";
import { commonPrefix, PrefixCache } from "./prefixes.js";
import { promised, youngest } from "./promises.js";
import type { EngineStatus, JobResult } from "./protocol.js";
import { FairQueue } from "./queue.js";
import { chooseRows } from "./rows.js";
import type { Begun, Running, SchedulerJob } from "./running.js";
import type { Task } from "./task.js";

export interface SchedulerOptions {
  readonly parts: EngineParts;
  readonly cache: KvCache;
  readonly ledger: Ledger;
  readonly stop: StopSignal;
  /** Jobs that run at the same time. */
  readonly sequences: number;
  readonly keptSequences: number;
  readonly queueLimit: number;
  readonly onChange: () => void;
}

/** Events about places in the queue come at most this often. */
const queuedEveryMs = 250;
/** A cancel that was announced and never comes must not stop the engine. */
const mostUnheard = 1000;

export class Scheduler {
  private readonly o: SchedulerOptions;
  private readonly prefixes: PrefixCache;
  private readonly clock = new PassClock();
  private readonly queue = new FairQueue<SchedulerJob>();
  private readonly running = new Map<number, Running>();
  private readonly paused = new Set<number>();
  /** Jobs in the queue that ran before, by id. */
  private readonly sentBack = new Map<number, Begun>();
  private begins = 0;
  private alone: SchedulerJob | undefined;
  private loop: Promise<void> | undefined;
  private ended: HundredweightError | undefined;
  /** Whether something changed since the first in the queue was refused. */
  private mayAdmit = true;
  /** The first in the queue waits for what a running job evaluates. */
  private awaitsPrefix = false;
  private toldQueue = Number.NEGATIVE_INFINITY;
  private unheard = 0;
  /** Sequences are longer than what they hold: whoever comes now, waits. */
  private inPass = false;
  private readonly afterPass: (() => void)[] = [];
  private readonly accounts: Accounts;

  constructor(options: SchedulerOptions) {
    this.o = options;
    this.accounts = new Accounts(options.parts.info.passWeightBytes);
    this.prefixes = new PrefixCache(options.cache, options.keptSequences);
  }

  /** @throws QUEUE_FULL */
  submit(job: SchedulerJob): void {
    const { queueLimit } = this.o;
    const waiting = this.queue.size;
    this.queue.push(job);
    this.mayAdmit = true;
    if (!this.inPass) this.admit();
    const ahead = this.queue.order().indexOf(job);
    if (ahead >= 0 && this.queue.size > queueLimit) {
      this.queue.remove(job);
      const details = { waiting, queueLimit };
      throw new HundredweightError("QUEUE_FULL", `${waiting} jobs wait already; try again later`, details);
    }
    if (ahead >= 0) job.emit({ kind: "queued", ahead });
    this.kick();
    this.o.onChange();
  }

  cancel(id: number, error: HundredweightError): void {
    if (this.inPass && this.running.has(id)) {
      this.afterPass.push(() => this.cancel(id, error));
      return;
    }
    this.paused.delete(id);
    this.mayAdmit = true;
    const waiting = this.queue.find((job) => job.id === id);
    if (waiting !== undefined) {
      this.queue.remove(waiting);
      this.sentBack.delete(id);
      waiting.settle(error);
    } else if (this.alone?.id === id) this.o.stop.stop();
    else {
      const entry = this.running.get(id);
      if (entry !== undefined) this.finish(entry, error);
    }
    this.kick();
    this.o.onChange();
  }

  pause(id: number): void {
    if (!this.running.has(id) && this.queue.find((job) => job.id === id) === undefined) return;
    this.paused.add(id);
    this.mayAdmit = true;
    this.o.onChange();
  }

  resume(id: number): void {
    if (!this.paused.delete(id)) return;
    this.mayAdmit = true;
    this.kick();
    this.o.onChange();
  }

  /** Ends all jobs with this error; resolves when the engine is idle. */
  async end(error: HundredweightError): Promise<void> {
    this.ended = error;
    for (const job of this.queue.order()) this.cancel(job.id, error);
    this.o.stop.stop();
    await this.loop;
    for (const entry of this.running.values()) this.finish(entry, error);
  }

  /** Rows of the largest pass. */
  get mostRows(): number {
    return this.accounts.mostRows;
  }

  status(): EngineStatus {
    const { used, pages } = this.o.cache.usage();
    const paused = [...this.paused].filter((id) => this.running.has(id)).length;
    return {
      running: this.running.size + (this.alone === undefined ? 0 : 1) - paused,
      waiting: this.queue.size,
      paused,
      kvTokensUsed: used * pagePositions,
      kvTokens: pages * pagePositions,
      ...this.accounts.counts,
      lastPass: this.accounts.lastPass,
    };
  }

  private kick(): void {
    this.loop ??= this.run();
  }

  private async run(): Promise<void> {
    // Jobs that arrive together share the first pass too.
    await yieldToEvents();
    try {
      while (this.ended === undefined && (await this.step())) {
        this.o.onChange();
        await yieldToEvents();
      }
    } catch (error) {
      for (const entry of this.running.values()) this.finish(entry, asHundredweightError(error));
    }
    this.o.parts.profiler?.pause();
    this.loop = undefined;
  }

  /** @returns whether there was something to do */
  private async step(): Promise<boolean> {
    this.admit();
    if (this.alone !== undefined) {
      await this.runAlone(this.alone);
      return true;
    }
    const pass = this.plan();
    if (pass === undefined) return false;
    this.inPass = true;
    try {
      await this.execute(pass);
    } finally {
      this.inPass = false;
      for (const late of this.afterPass.splice(0)) late();
    }
    return true;
  }

  private admit(): void {
    if (!this.mayAdmit && !this.awaitsPrefix) return;
    this.awaitsPrefix = false;
    const before = this.queue.size;
    while (this.alone === undefined && this.ended === undefined) {
      const job = this.queue.find(({ id }) => !this.paused.has(id));
      if (job === undefined || !this.tryStart(job)) break;
      this.queue.serve(job);
    }
    this.mayAdmit = false;
    if (this.queue.size < before) this.tellQueue();
  }

  private tryStart(job: SchedulerJob): boolean {
    const { task } = job;
    if (task === undefined) {
      if (this.running.size > 0) return false;
      this.alone = job;
      return true;
    }
    if (this.running.size >= this.o.sequences && !this.giveWay()) return false;
    const { cache } = this.o;
    if (this.isBeingRead(task)) {
      this.awaitsPrefix = true;
      return false;
    }
    const prefix = this.prefixes.open(task.tokens, task.reusable, this.running.values());
    const wishes = new Map([[prefix.sequence, promised(task)]]);
    for (const entry of this.running.values()) wishes.set(entry.sequence, promised(entry.task));
    // It may be the only one in the end, but then all of it must fit.
    if (!cache.canGrow(wishes) || !cache.canGrow(new Map([[prefix.sequence, task.mostPositions]]))) {
      cache.release(prefix.sequence);
      if (this.giveWay()) return this.tryStart(job);
      if (this.running.size > 0) return false;
      job.settle(
        new HundredweightError("CONTEXT_EXCEEDED", `${task.mostPositions} tokens do not fit the KV cache; raise --ctx`),
      );
      return true;
    }
    const before = this.sentBack.get(job.id);
    const begun = before ?? { seniority: ++this.begins, counted: 0, reached: prefix.length };
    this.sentBack.delete(job.id);
    this.running.set(job.id, {
      job,
      task,
      sequence: prefix.sequence,
      tokens: task.tokens,
      begun,
      overtaken: 0,
      servedIn: this.accounts.counts.passes,
    });
    if (before !== undefined) return true;
    this.accounts.reused(prefix.length);
    task.start(prefix.length);
    return true;
  }

  /** A job whose client does not read leaves its place to one that waits: a few slow readers must not stand in everybody's way. */
  private giveWay(): boolean {
    const resting = youngest(this.running.values(), ({ job }) => this.paused.has(job.id));
    if (resting === undefined || !this.paused.has(resting.job.id)) return false;
    this.sendBack(resting);
    return true;
  }

  /**
   * Whether a running job evaluates a good part of this prompt right now, as when many arrive with one system prompt: waiting
   * for it costs nobody anything, for those rows come first anyway. A window may have gone past that part by then, so not there.
   */
  private isBeingRead(task: Task): boolean {
    const { cache } = this.o;
    if (cache.windowed) return false;
    for (const { job, task: other, sequence } of this.running.values()) {
      const done = cache.length(sequence);
      if (this.paused.has(job.id) || done >= other.promptTokens - 1) continue;
      const common = commonPrefix(other.tokens.subarray(0, other.promptTokens), task.tokens, task.reusable);
      if (done < common && common - this.prefixes.longest(task.tokens, common) >= pagePositions) return true;
    }
    return false;
  }

  private tellQueue(): void {
    if (performance.now() - this.toldQueue < queuedEveryMs) return;
    this.toldQueue = performance.now();
    for (const [ahead, job] of this.queue.order().entries())
      if (!this.sentBack.has(job.id)) job.emit({ kind: "queued", ahead });
  }

  /** The rows of the next pass, for which there are pages; undefined when there is nothing to do. */
  private plan(): Pass | undefined {
    for (;;) {
      const active = [...this.running.values()].filter(({ job }) => !this.paused.has(job.id));
      const pass = chooseRows(active, this.o.cache, {
        pass: this.accounts.counts.passes,
        mostRows: this.o.parts.info.chunkRows,
        promptRows: this.clock.promptRows(),
      });
      if (pass === undefined || this.makeRoom(pass)) return pass;
    }
  }

  /** Pages come from sequences that are only kept, then from the youngest job.  @returns whether the pass is as it was */
  private makeRoom(pass: Pass): boolean {
    while (!this.o.cache.hasRoomFor(pass.parts)) {
      if (this.prefixes.evict()) continue;
      const victim = youngest(this.running.values(), ({ job }) => this.paused.has(job.id));
      if (victim === undefined || this.running.size === 1) return true; // then the pass says what is wrong
      this.sendBack(victim);
      return false;
    }
    return true;
  }

  private sendBack(entry: Running): void {
    const { job, sequence, task, begun } = entry;
    this.running.delete(job.id);
    this.prefixes.keep({ sequence, tokens: task.tokens });
    this.sentBack.set(job.id, begun);
    this.queue.giveBack(job, (other) => this.sentBack.get(other.id)!.seniority < begun.seniority);
    this.accounts.counts.preemptions++;
    this.mayAdmit = false; // until somebody ends or comes
  }

  private async execute(pass: Pass): Promise<void> {
    const { parts, cache, stop, ledger } = this.o;
    const { model, info } = parts;
    const entries = pass.parts.map((part) => this.entryOf(part));
    const rowMs = this.clock.rowMs ?? 0;
    stop.begin(pass.parts.map(({ rows }, i) => ({ job: entries[i]!.job.id, costMs: rows * rowMs })));
    let error: HundredweightError | undefined;
    const began = performance.now();
    try {
      // Cancels on their way: plan again without the jobs they are for.
      if (stop.unheard && this.unheard++ < mostUnheard) return;
      if (this.unheard > mostUnheard) stop.giveUp();
      this.unheard = 0;
      for (const { sequence, rows } of pass.parts) cache.append(sequence, rows);
      await pass.run(model, cache, info.vocab, info.dim);
    } catch (thrown) {
      error = asHundredweightError(thrown);
      for (const { sequence, from } of pass.parts) cache.rewind(sequence, from);
    } finally {
      stop.end();
    }
    const elapsedMs = performance.now() - began;
    const traffic = ledger.lap();
    if (error === undefined) this.record(pass, entries, traffic, elapsedMs);
    // Stopped: cancels are on their way, and what the others had of this pass is done again without those jobs' rows.
    else if (error.code !== "CANCELLED") for (const entry of entries) this.finish(entry, error);
    for (const [i, entry] of entries.entries()) {
      const { fault } = pass.parts[i]!;
      if (fault !== undefined) this.finish(entry, asHundredweightError(fault));
      else if (error === undefined && entry.task.result !== undefined) this.finish(entry, entry.task.result);
    }
  }

  private entryOf({ sequence }: PassPart): Running {
    for (const entry of this.running.values()) if (entry.sequence === sequence) return entry;
    throw new HundredweightError("INTERNAL", `nobody runs in sequence ${sequence}`);
  }

  private record(pass: Pass, entries: readonly Running[], traffic: PassTraffic | undefined, elapsedMs: number): void {
    const { cache } = this.o;
    this.clock.record(pass.rows, pass.single, elapsedMs);
    this.accounts.passed(pass, traffic, elapsedMs);
    for (const [i, part] of pass.parts.entries()) {
      const { sequence, from, rows, task } = part;
      this.accounts.served(part, entries[i]!);
      task.passed();
      // A window forgets: a later prompt with the same beginning could not go back to it from the end of the answer.
      if (cache.windowed && from + rows === task.promptTokens && task.result === undefined)
        this.prefixes.keep({ sequence: cache.fork(sequence), tokens: task.tokens });
    }
  }

  private finish(entry: Running, outcome: JobResult | HundredweightError): void {
    const { job, sequence, tokens } = entry;
    if (!this.running.delete(job.id)) return;
    this.paused.delete(job.id);
    this.mayAdmit = true;
    this.prefixes.keep({ sequence, tokens });
    job.settle(outcome);
  }

  private async runAlone(job: SchedulerJob): Promise<void> {
    const { stop, ledger } = this.o;
    this.prefixes.clear();
    ledger.lap(); // what passes of other jobs left, failed ones too
    stop.begin([{ job: job.id, costMs: 0 }]);
    let outcome: JobResult | HundredweightError;
    try {
      outcome = await job.alone!();
    } catch (error) {
      outcome = asHundredweightError(error);
    }
    stop.end();
    this.alone = undefined;
    this.mayAdmit = true;
    job.settle(outcome);
  }
}
