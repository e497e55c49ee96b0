/**
 * Which jobs start. A job is admitted when there are KV pages for it and for those that run to grow (promises.ts); the
 * others wait their turn, and nobody is overtaken by one that comes after, so that long ones are not starved.
 */
import { asHundredweightError, HundredweightError } from "../errors.js";
import { pagePositions } from "../ops/ops.js";
import type { StateCache } from "../state/cache.js";
import type { Accounts } from "./accounts.js";
import { checkpointsOf } from "./checkpoints.js";
import type { EngineParts } from "./parts.js";
import type { PastKeeper } from "./past.js";
import { commonPast, type Prefix, type PrefixCache, pastOf } from "./prefixes.js";
import { promised, youngest } from "./promises.js";
import { FairQueue } from "./queue.js";
import { type Begun, type Running, type RunningJobs, type SchedulerJob, tasksOf } from "./running.js";
import type { Task } from "./task.js";

export interface AdmissionOptions {
  readonly parts: EngineParts;
  readonly cache: StateCache;
  readonly prefixes: PrefixCache;
  readonly running: RunningJobs;
  readonly accounts: Accounts;
  /** Sequences that run at the same time. */
  readonly sequences: number;
  readonly queueLimit: number;
  readonly past?: PastKeeper | undefined;
}

/** Events about places in the queue come at most this often. */
const queuedEveryMs = 250;

export class Admission {
  private readonly o: AdmissionOptions;
  private readonly queue = new FairQueue<SchedulerJob>();
  /** Jobs in the queue that ran before, by id. */
  private readonly sentBack = new Map<number, Begun>();
  private begins = 0;
  /**
   * `open`: something changed since the first in the queue was refused. `shut`: nothing did. `prefix`: it waits for
   * what a running job evaluates, so it is looked at before every pass.
   */
  private door: "open" | "shut" | "prefix" = "open";
  private toldQueue = Number.NEGATIVE_INFINITY;

  constructor(options: AdmissionOptions) {
    this.o = options;
  }

  get waiting(): number {
    return this.queue.size;
  }

  /** Something changed: the first in the queue may be admitted now. */
  open(): void {
    this.door = "open";
  }

  /**
   * Takes a job in, and starts it when it may.
   * @param now false while a pass runs: sequences are longer than what they hold
   * @throws QUEUE_FULL
   */
  enter(job: SchedulerJob, now: boolean): void {
    const { queueLimit } = this.o;
    const waiting = this.queue.size;
    this.queue.push(job);
    this.open();
    if (now) this.admit();
    const ahead = this.queue.order().indexOf(job);
    if (ahead >= 0 && this.queue.size > queueLimit) {
      this.queue.remove(job);
      const details = { waiting, queueLimit };
      throw new HundredweightError("QUEUE_FULL", `${waiting} jobs wait already; try again later`, details);
    }
    if (ahead >= 0) job.emit({ kind: "queued", ahead });
  }

  /** A job that waits. */
  find(id: number): SchedulerJob | undefined {
    return this.queue.find((job) => job.id === id);
  }

  /** The job that starts next. */
  get next(): SchedulerJob | undefined {
    return this.queue.find(({ id }) => !this.o.running.paused.has(id));
  }

  /** Takes out a job that waits. */
  leave(job: SchedulerJob): void {
    this.queue.remove(job);
    this.sentBack.delete(job.id);
  }

  /** All that wait, in the order in which they will be served. */
  order(): readonly SchedulerJob[] {
    return this.queue.order();
  }

  /** Starts those that may start. */
  admit(): void {
    if (this.door === "shut") return;
    this.door = "shut";
    const before = this.queue.size;
    for (;;) {
      const job = this.next;
      if (job === undefined || !this.tryStart(job)) break;
      this.queue.serve(job);
    }
    if (this.queue.size < before) this.tellQueue();
  }

  /** Sends a sequence's job back to the front of the queue; what it had is evaluated again later. */
  sendBack(entry: Running): void {
    const { job, sequence, task, begun } = entry;
    const { running, prefixes, accounts } = this.o;
    running.remove(entry);
    if (task.past === "gone") this.o.cache.release(sequence);
    else prefixes.keep({ ...pastOf(task), sequence }, task.past === "spare");
    begun.reached += task.rolling?.restart() ?? 0;
    this.sentBack.set(job.id, begun);
    this.queue.giveBack(job, (other) => this.sentBack.get(other.id)!.seniority < begun.seniority);
    accounts.counts.preemptions++;
    if (this.door === "open") this.door = "shut"; // until somebody ends or comes
  }

  /** Tokens of a timeline are left out, and what remains is read again, as far as it is not there: `Roll`. */
  reread(entry: Running): void {
    const { task, begun } = entry;
    const { running, prefixes } = this.o;
    running.remove(entry);
    prefixes.keep(entry, task.past === "spare");
    task.rolling!.left();
    begun.reached -= task.rolling!.roll.discard;
    const opened = prefixes.open(task, task.reusable, running.pasts());
    running.add({ ...entry, sequence: opened.sequence, checkpoints: [] });
  }

  /** @returns whether it left the queue */
  private tryStart(job: SchedulerJob): boolean {
    const { cache, prefixes, running, sequences } = this.o;
    const tasks = tasksOf(job);
    const apart = job.kind === "apart";
    const [first] = running;
    if (first?.job.kind === "apart") return false;
    while (running.size > (apart ? 0 : sequences - tasks.length)) if (!this.giveWay()) return false;
    if (tasks.some((task) => this.isBeingRead(task) || this.o.past?.wants(task))) {
      this.door = "prefix";
      return false;
    }
    const opened = tasks.map((task) => prefixes.open(task, task.reusable, running.pasts()));
    const whole = new Map(opened.map(({ sequence }, i) => [sequence, tasks[i]!.mostPositions]));
    const wishes = new Map(opened.map(({ sequence }, i) => [sequence, promised(tasks[i]!)]));
    for (const entry of running) wishes.set(entry.sequence, promised(entry.task));
    // It may be the only one in the end, but then all of it must fit.
    if (!cache.canGrow(wishes) || !cache.canGrow(whole)) {
      for (const { sequence } of opened) cache.release(sequence);
      if (this.giveWay()) return this.tryStart(job);
      if (running.size > 0) return false;
      const positions = tasks.reduce((sum, { mostPositions }) => sum + mostPositions, 0);
      job.settle(
        new HundredweightError("CONTEXT_EXCEEDED", `${positions} tokens do not fit the KV cache; raise --ctx`),
      );
      return true;
    }
    // One that lays out its past before its first pass finds the pages free.
    if (apart)
      prefixes.makeRoom(
        opened.map(({ sequence, length }, i) => ({ sequence, rows: tasks[i]!.mostPositions - length })),
      );
    this.begin(job, opened);
    return true;
  }

  private begin(job: SchedulerJob, prefixes: readonly Prefix[]): void {
    const { running, accounts } = this.o;
    const before = this.sentBack.get(job.id);
    this.sentBack.delete(job.id);
    const entries = tasksOf(job).map((task, i): Running => {
      const { sequence, length } = prefixes[i]!;
      const begun = before ?? { seniority: ++this.begins, counted: 0, reached: length };
      const servedIn = accounts.counts.passes;
      const checkpoints = this.checkpoints(task);
      return { ...pastOf(task), job, task, sequence, begun, checkpoints, overtaken: 0, servedIn };
    });
    for (const entry of entries) running.add(entry);
    if (before !== undefined) return;
    for (const [i, entry] of entries.entries()) {
      const { length } = prefixes[i]!;
      accounts.reused(length);
      try {
        entry.task.start(length, entry.sequence);
      } catch (error) {
        running.finish(entry, asHundredweightError(error));
        return;
      }
    }
  }

  /** Positions of a task's prompt whose past is worth a slot. */
  private checkpoints(task: Task): readonly number[] {
    const { slots } = this.o.cache;
    return slots === undefined || task.past !== "kept" ? [] : this.turns(task, slots.count - 2 * this.o.sequences);
  }

  /** Positions of a prompt where later ones may begin to differ. @param checkpoints how many there is room for */
  turns({ tokens, promptTokens }: Task, checkpoints = 1): readonly number[] {
    const { tokenizer } = this.o.parts;
    const known = tokenizer.kind === "none" ? 0 : tokenizer.size;
    const isControl = (token: number): boolean => token < known && tokenizer.tokenKind(token) === "control";
    return checkpointsOf({ tokens, promptTokens, isControl, checkpoints });
  }

  /**
   * A job whose client does not read leaves its place to one that waits: slow readers must not stand in everybody's
   * way.
   */
  private giveWay(): boolean {
    const { running } = this.o;
    const resting = youngest(running, running.rests);
    if (resting === undefined || !running.rests(resting)) return false;
    this.sendBack(resting);
    return true;
  }

  /**
   * Whether a running job evaluates a good part of this prompt right now, as when many arrive with one system prompt:
   * waiting for it costs nobody anything, for those rows come first anyway. So of two that are the same one is
   * evaluated. A window may have gone past that part by then, but for the end of that prompt, which is kept; a state
   * that is replaced is there at the checkpoints only.
   */
  private isBeingRead(task: Task): boolean {
    const { cache, running, prefixes } = this.o;
    for (const entry of running) {
      const { task: other, sequence, checkpoints } = entry;
      const done = cache.length(sequence);
      if (running.rests(entry) || done >= other.promptTokens - 1) continue;
      const prompt = other.tokens.subarray(0, other.promptTokens);
      const shared = commonPast({ ...pastOf(other), tokens: prompt }, task, task.reusable);
      if (cache.windowed && shared < other.promptTokens - 1) continue;
      const common = cache.slots === undefined ? shared : (checkpoints.findLast((at) => at <= shared) ?? 0);
      if (done < common && common - prefixes.longest(task, common) >= pagePositions) return true;
    }
    return false;
  }

  private tellQueue(): void {
    if (performance.now() - this.toldQueue < queuedEveryMs) return;
    this.toldQueue = performance.now();
    for (const [ahead, job] of this.queue.order().entries())
      if (!this.sentBack.has(job.id)) job.emit({ kind: "queued", ahead });
  }
}
