/**
 * Continuous batching: jobs join and leave between passes, and one pass serves the rows of all that run (rows.ts:
 * which).
 *
 * A job is admitted when there are KV pages for it and for those that run to grow (promises.ts); the others wait
 * their turn, and nobody is overtaken by one that comes after, so that long ones are not starved. When pages run out
 * the youngest goes back to the front of the queue.
 */
import { setImmediate as yieldToEvents } from "node:timers/promises";
import { asHundredweightError, HundredweightError } from "../errors.js";
import { pagePositions } from "../ops/ops.js";
import type { StateCache } from "../state/cache.js";
import type { Ledger, PassTraffic } from "../weights/ledger.js";
import { Accounts } from "./accounts.js";
import { checkpointsOf } from "./checkpoints.js";
import type { EngineStatus, JobResult } from "./jobs.js";
import type { EngineParts } from "./parts.js";
import { type Pass, type PassPart, reached } from "./pass.js";
import { PassClock } from "./pass-clock.js";
import { commonPrefix, type Prefix, PrefixCache } from "./prefixes.js";
import { promised, youngest } from "./promises.js";
import { FairQueue } from "./queue.js";
import { chooseRows } from "./rows.js";
import type { Begun, Running, SchedulerJob } from "./running.js";
import type { StopSignal } from "./stop-signal.js";
import type { Task } from "./task.js";

export interface SchedulerOptions {
  readonly parts: EngineParts;
  readonly cache: StateCache;
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
  /** By sequence. */
  private readonly running = new Map<number, Running>();
  private readonly paused = new Set<number>();
  /** Jobs in the queue that ran before, by id. */
  private readonly sentBack = new Map<number, Begun>();
  private begins = 0;
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
    const [entry] = this.entriesOf(id);
    if (this.inPass && entry !== undefined) {
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
    } else if (entry !== undefined) this.finish(entry, error);
    this.kick();
    this.o.onChange();
  }

  pause(id: number): void {
    if (this.entriesOf(id).length === 0 && this.queue.find((job) => job.id === id) === undefined) return;
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
    const running = new Set(Array.from(this.running.values(), ({ job }) => job.id));
    const paused = [...this.paused].filter((id) => running.has(id)).length;
    return {
      running: running.size - paused,
      waiting: this.queue.size,
      paused,
      kvTokensUsed: used * pagePositions,
      kvTokens: pages * pagePositions,
      ...this.accounts.counts,
      lastPass: this.accounts.lastPass,
      ...(this.o.parts.liveDisk !== undefined && { liveDisk: this.o.parts.liveDisk.status }),
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
    while (this.ended === undefined) {
      const job = this.queue.find(({ id }) => !this.paused.has(id));
      if (job === undefined || !this.tryStart(job)) break;
      this.queue.serve(job);
    }
    this.mayAdmit = false;
    if (this.queue.size < before) this.tellQueue();
  }

  private tryStart(job: SchedulerJob): boolean {
    const { cache, sequences } = this.o;
    const { tasks, apart = false } = job;
    const [first] = this.running.values();
    if (first?.job.apart) return false;
    while (this.running.size > (apart ? 0 : sequences - tasks.length)) if (!this.giveWay()) return false;
    if (tasks.some((task) => this.isBeingRead(task))) {
      this.awaitsPrefix = true;
      return false;
    }
    const prefixes = tasks.map((task) => this.prefixes.open(task.tokens, task.reusable, this.running.values()));
    const whole = new Map(prefixes.map(({ sequence }, i) => [sequence, tasks[i]!.mostPositions]));
    const wishes = new Map(prefixes.map(({ sequence }, i) => [sequence, promised(tasks[i]!)]));
    for (const entry of this.running.values()) wishes.set(entry.sequence, promised(entry.task));
    // It may be the only one in the end, but then all of it must fit.
    if (!cache.canGrow(wishes) || !cache.canGrow(whole)) {
      for (const { sequence } of prefixes) cache.release(sequence);
      if (this.giveWay()) return this.tryStart(job);
      if (this.running.size > 0) return false;
      const positions = tasks.reduce((sum, { mostPositions }) => sum + mostPositions, 0);
      job.settle(
        new HundredweightError("CONTEXT_EXCEEDED", `${positions} tokens do not fit the KV cache; raise --ctx`),
      );
      return true;
    }
    // One that lays out its past before its first pass finds the pages free.
    if (apart)
      this.prefixes.makeRoom(
        prefixes.map(({ sequence, length }, i) => ({ sequence, rows: tasks[i]!.mostPositions - length })),
      );
    this.begin(job, prefixes);
    return true;
  }

  private begin(job: SchedulerJob, prefixes: readonly Prefix[]): void {
    const before = this.sentBack.get(job.id);
    this.sentBack.delete(job.id);
    const entries = job.tasks.map((task, i): Running => {
      const { sequence, length } = prefixes[i]!;
      const begun = before ?? { seniority: ++this.begins, counted: 0, reached: length };
      const servedIn = this.accounts.counts.passes;
      const checkpoints = this.checkpoints(task);
      return { job, task, sequence, tokens: task.tokens, begun, checkpoints, overtaken: 0, servedIn };
    });
    for (const entry of entries) this.running.set(entry.sequence, entry);
    if (before !== undefined) return;
    for (const [i, entry] of entries.entries()) {
      const { length } = prefixes[i]!;
      this.accounts.reused(length);
      try {
        entry.task.start(length, entry.sequence);
      } catch (error) {
        this.finish(entry, asHundredweightError(error));
        return;
      }
    }
  }

  /** Positions of a task's prompt whose past is worth a slot. */
  private checkpoints({ tokens, promptTokens, past }: Task): readonly number[] {
    const { cache, parts } = this.o;
    if (cache.slots === undefined || past !== "kept") return [];
    const { tokenizer } = parts;
    const known = tokenizer.kind === "none" ? 0 : tokenizer.size;
    const isControl = (token: number): boolean => token < known && tokenizer.tokenKind(token) === "control";
    return checkpointsOf({ tokens, promptTokens, isControl, checkpoints: cache.slots.count - 2 * this.o.sequences });
  }

  /**
   * A job whose client does not read leaves its place to one that waits: a few slow readers must not stand in
   * everybody's way.
   */
  private giveWay(): boolean {
    const resting = youngest(this.running.values(), ({ job }) => this.paused.has(job.id));
    if (resting === undefined || !this.paused.has(resting.job.id)) return false;
    this.sendBack(resting);
    return true;
  }

  /**
   * Whether a running job evaluates a good part of this prompt right now, as when many arrive with one system prompt:
   * waiting for it costs nobody anything, for those rows come first anyway. A window may have gone past that part by
   * then, so not there; a state that is replaced is there at the checkpoints only.
   */
  private isBeingRead(task: Task): boolean {
    const { cache } = this.o;
    if (cache.windowed) return false;
    for (const { job, task: other, sequence, checkpoints } of this.running.values()) {
      const done = cache.length(sequence);
      if (this.paused.has(job.id) || done >= other.promptTokens - 1) continue;
      const shared = commonPrefix(other.tokens.subarray(0, other.promptTokens), task.tokens, task.reusable);
      const common = cache.slots === undefined ? shared : (checkpoints.findLast((at) => at <= shared) ?? 0);
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

  /**
   * Pages come from sequences that are only kept, then from the youngest job. @returns whether the pass is as it was
   */
  private makeRoom(pass: Pass): boolean {
    while (!this.prefixes.makeRoom(pass.parts)) {
      const victim = youngest(this.running.values(), ({ job }) => this.paused.has(job.id));
      if (victim === undefined || this.running.size === 1) return true; // then the pass says what is wrong
      this.sendBack(victim);
      return false;
    }
    return true;
  }

  private sendBack(entry: Running): void {
    const { job, sequence, task, begun } = entry;
    this.running.delete(sequence);
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
      this.prefixes.makeRoomForMarks(pass.parts);
      for (const { sequence, rows, drafts, marks } of pass.parts)
        cache.append(sequence, rows, { drafts: drafts > 0, marks });
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
    const entry = this.running.get(sequence);
    if (entry === undefined) throw new HundredweightError("INTERNAL", `nobody runs in sequence ${sequence}`);
    return entry;
  }

  private entriesOf(id: number): Running[] {
    return [...this.running.values()].filter(({ job }) => job.id === id);
  }

  private record(pass: Pass, entries: readonly Running[], traffic: PassTraffic | undefined, elapsedMs: number): void {
    const { cache } = this.o;
    this.clock.record(pass.rows, pass.decoding, elapsedMs);
    this.accounts.passed(pass, traffic, elapsedMs);
    if (traffic !== undefined) this.o.parts.liveDisk?.passed(traffic, elapsedMs);
    for (const [i, part] of pass.parts.entries()) {
      const { sequence, from, rows, task } = part;
      if (part.drafts > 0) cache.rewind(sequence, reached(part));
      for (const position of part.marks)
        if (cache.canFork(sequence, position))
          this.prefixes.keep({ sequence: cache.fork(sequence, position), tokens: task.tokens });
      cache.settle(sequence);
      task.passed();
      this.accounts.served(part, entries[i]!);
      // A window forgets: a later prompt with the same beginning could not go back to it from the end of the answer.
      const promptEnds = from + rows === task.promptTokens && task.result === undefined;
      if (cache.windowed && promptEnds && task.past === "kept")
        this.prefixes.keep({ sequence: cache.fork(sequence), tokens: task.tokens });
    }
  }

  /** Ends a job with the last of its tasks, or with the first that fails. */
  private finish(entry: Running, outcome: JobResult | HundredweightError): void {
    const { job } = entry;
    if (!this.running.has(entry.sequence)) return;
    const failed = outcome instanceof HundredweightError;
    for (const { sequence, tokens, task } of failed ? this.entriesOf(job.id) : [entry]) {
      this.running.delete(sequence);
      if (task.past === "gone") this.o.cache.release(sequence);
      else this.prefixes.keep({ sequence, tokens }, task.past === "spare");
    }
    this.mayAdmit = true;
    if (this.entriesOf(job.id).length > 0) return;
    this.paused.delete(job.id);
    job.settle(outcome);
  }
}
