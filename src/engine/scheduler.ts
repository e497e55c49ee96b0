/**
 * Continuous batching: jobs join and leave between passes, and one pass serves the rows of all that run. This file is
 * the loop and what can be asked of it; admission.ts says which jobs start, execution.ts what a pass is and what
 * becomes of it.
 */
import { setImmediate as yieldToEvents } from "node:timers/promises";
import { asHundredweightError, type HundredweightError } from "../errors.js";
import { pagePositions } from "../ops/ops.js";
import type { StateCache } from "../state/cache.js";
import type { Ledger } from "../weights/ledger.js";
import { Accounts } from "./accounts.js";
import { Admission } from "./admission.js";
import type { DraftBlocks } from "./draft-blocks.js";
import type { DraftModel } from "./draft-model.js";
import { Execution } from "./execution.js";
import type { EngineStatus } from "./jobs.js";
import type { EngineParts } from "./parts.js";
import { PassClock } from "./pass-clock.js";
import { PastKeeper } from "./past.js";
import { type Known, PrefixCache } from "./prefixes.js";
import { RunningJobs, type SchedulerJob, tasksOf } from "./running.js";
import type { StopSignal } from "./stop-signal.js";
import type { Task } from "./task.js";

export interface SchedulerOptions {
  readonly parts: EngineParts;
  readonly cache: StateCache;
  readonly ledger: Ledger;
  readonly stop: StopSignal;
  /** Guesses for answers. */
  readonly draftModel?: DraftModel;
  readonly draftBlocks?: DraftBlocks | undefined;
  /** Jobs that run at the same time. */
  readonly sequences: number;
  readonly keptSequences: number;
  readonly queueLimit: number;
  readonly onChange: () => void;
}

export class Scheduler {
  private readonly o: SchedulerOptions;
  private readonly accounts: Accounts;
  private readonly running: RunningJobs;
  private readonly admission: Admission;
  private readonly execution: Execution;
  private readonly prefixes: PrefixCache;
  /** Moves pasts out of the cache and back; absent where the parts say nothing of it. */
  readonly past: PastKeeper | undefined;
  private loop: Promise<void> | undefined;
  private ended: HundredweightError | undefined;
  /** Sequences are longer than what they hold: whoever comes now, waits. */
  private inPass = false;
  private readonly afterPass: (() => void)[] = [];

  constructor(options: SchedulerOptions) {
    const { parts, cache, ledger, stop, sequences, keptSequences, queueLimit } = options;
    this.o = options;
    this.accounts = new Accounts(parts.info.passWeightBytes);
    const clock = new PassClock();
    const rowMs = () => clock.rowMs ?? 1;
    const prefixes = new PrefixCache({ cache, most: keptSequences, rowMs, spare: () => this.past?.spare() ?? false });
    this.prefixes = prefixes;
    this.running = new RunningJobs(
      cache,
      prefixes,
      () => this.admission.open(),
      ({ task, sequence }) => this.past?.ended(task, sequence),
    );
    this.past =
      parts.past &&
      new PastKeeper({
        parts: parts.past,
        ...{ cache, prefixes, rowMs },
        model: parts.model,
        growing: this.running,
        name: parts.info.name ?? parts.info.path,
        turns: (task) => this.admission.turns(task),
      });
    const { past } = this;
    const shared = { parts, cache, prefixes, running: this.running, accounts: this.accounts, past };
    this.admission = new Admission({ ...shared, sequences, queueLimit });
    this.execution = new Execution({
      ...shared,
      admission: this.admission,
      ledger,
      stop,
      clock,
      draftModel: options.draftModel,
      draftBlocks: options.draftBlocks,
    });
  }

  /** Says what is there now of the beginning of a task's prompt. */
  known(task: Task): Known {
    const known = this.prefixes.known(task, task.reusable, this.running.pasts());
    return this.past?.known(task, known) ?? known;
  }

  /** @throws QUEUE_FULL */
  submit(job: SchedulerJob): void {
    this.admission.enter(job, !this.inPass && this.ended === undefined);
    this.kick();
    this.o.onChange();
  }

  cancel(id: number, error: HundredweightError): void {
    const [entry] = this.running.of(id);
    if (this.inPass && entry !== undefined) {
      this.afterPass.push(() => this.cancel(id, error));
      return;
    }
    this.running.paused.delete(id);
    this.admission.open();
    const waiting = this.admission.find(id);
    if (waiting !== undefined) {
      this.admission.leave(waiting);
      waiting.settle(error);
    } else if (entry !== undefined) this.running.finish(entry, error);
    this.kick();
    this.o.onChange();
  }

  pause(id: number): void {
    if (this.running.of(id).length === 0 && this.admission.find(id) === undefined) return;
    this.running.paused.add(id);
    this.admission.open();
    this.o.onChange();
  }

  resume(id: number): void {
    if (!this.running.paused.delete(id)) return;
    this.admission.open();
    this.kick();
    this.o.onChange();
  }

  /** Ends all jobs with this error; resolves when the engine is idle. */
  async end(error: HundredweightError): Promise<void> {
    this.ended = error;
    for (const job of this.admission.order()) this.cancel(job.id, error);
    this.o.stop.stop();
    await this.loop;
    this.running.finishAll(error);
    await this.past?.close();
  }

  /** Rows of the largest pass. */
  get mostRows(): number {
    return this.accounts.mostRows;
  }

  status(): EngineStatus {
    const { used, pages } = this.o.cache.usage();
    const running = new Set(Array.from(this.running, ({ job }) => job.id));
    const paused = [...this.running.paused].filter((id) => running.has(id)).length;
    return {
      running: running.size - paused,
      waiting: this.admission.waiting,
      paused,
      kvTokensUsed: used * pagePositions,
      kvTokens: pages * pagePositions,
      ...this.accounts.counts,
      answering: this.accounts.answering,
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
    this.past?.busy();
    try {
      while (this.ended === undefined && (await this.step())) {
        this.o.onChange();
        await yieldToEvents();
      }
    } catch (error) {
      this.running.finishAll(asHundredweightError(error));
    }
    this.past?.idle();
    this.o.parts.profiler?.pause();
    this.loop = undefined;
  }

  /** @returns whether there was something to do */
  private async step(): Promise<boolean> {
    const { past } = this;
    const next = past && this.admission.next;
    if (next !== undefined) for (const task of tasksOf(next)) await past?.bring(task);
    this.admission.admit();
    this.execution.roll();
    await this.execution.guess();
    const pass = this.execution.plan();
    if (pass === undefined) return false;
    this.inPass = true;
    try {
      await this.execution.run(pass);
    } finally {
      this.inPass = false;
      for (const late of this.afterPass.splice(0)) late();
    }
    await past?.between(this.accounts.lastPass?.elapsedMs ?? 0);
    return true;
  }
}
