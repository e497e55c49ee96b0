/** Jobs as they were submitted, and those of them that run. */
import { HundredweightError } from "../errors.js";
import type { StateCache } from "../state/cache.js";
import type { JobEvent, JobResult } from "./jobs.js";
import type { PrefixCache, Timeline } from "./prefixes.js";
import type { Task } from "./task.js";

interface Submitted {
  readonly id: number;
  readonly user: string;
  readonly emit: (event: JobEvent) => void;
  /** Given the result of the task that ended last. */
  readonly settle: (outcome: JobResult | HundredweightError) => void;
}

/** A job of one sequence, whose rows share passes with those of others. */
export interface SharedJob extends Submitted {
  readonly kind: "shared";
  readonly task: Task;
}

/**
 * A job whose passes have no rows of others: it begins when nobody runs, and others begin when it has ended. Its
 * sequences begin together, and it ends with the last of them.
 */
export interface ApartJob extends Submitted {
  readonly kind: "apart";
  readonly tasks: readonly Task[];
}

export type SchedulerJob = SharedJob | ApartJob;

export function tasksOf(job: SchedulerJob): readonly Task[] {
  return job.kind === "shared" ? [job.task] : job.tasks;
}

/** The state of a job from its first beginning to its end, also while it was sent back to wait. */
export interface Begun {
  /** Order of the first beginnings: who began earlier is sent back later. */
  readonly seniority: number;
  /** Generated tokens that the status counts already. */
  counted: number;
  /** Positions that were evaluated once; what is done again is no progress of the prompt. */
  reached: number;
}

export interface Running extends Timeline {
  readonly job: SchedulerJob;
  readonly task: Task;
  readonly begun: Begun;
  /** Positions of its prompt whose past is to be kept, of models that cannot go back; ascending. */
  readonly checkpoints: readonly number[];
  /** Prompt rows that others got since this one was admitted. */
  overtaken: number;
  /** The last pass it was part of. */
  servedIn: number;
}

/** The sequences in which jobs run, and which jobs rest because nobody takes what they make. */
export class RunningJobs {
  /** Jobs, running or waiting, that are paused. */
  readonly paused = new Set<number>();
  private readonly bySequence = new Map<number, Running>();
  private readonly cache: StateCache;
  private readonly prefixes: PrefixCache;
  private readonly onFreed: () => void;
  private readonly onEnded: (entry: Running) => void;

  /**
   * @param onFreed a sequence has ended: there is room for another
   * @param onEnded told of one before it becomes a prefix
   */
  constructor(
    cache: StateCache,
    prefixes: PrefixCache,
    onFreed: () => void,
    onEnded: (entry: Running) => void = () => {},
  ) {
    this.cache = cache;
    this.prefixes = prefixes;
    this.onFreed = onFreed;
    this.onEnded = onEnded;
  }

  get size(): number {
    return this.bySequence.size;
  }

  [Symbol.iterator](): IterableIterator<Running> {
    return this.bySequence.values();
  }

  /** Those whose past is that of their tokens: others may go on with it. */
  *pasts(): IterableIterator<Running> {
    for (const entry of this) if (entry.task.past !== "gone") yield entry;
  }

  /** The sequences of a job. */
  of(id: number): Running[] {
    return [...this].filter(({ job }) => job.id === id);
  }

  at(sequence: number): Running {
    const entry = this.bySequence.get(sequence);
    if (entry === undefined) throw new HundredweightError("INTERNAL", `nobody runs in sequence ${sequence}`);
    return entry;
  }

  has({ sequence, job }: Running): boolean {
    return this.bySequence.get(sequence)?.job === job;
  }

  readonly rests = ({ job }: Running): boolean => this.paused.has(job.id);

  add(entry: Running): void {
    this.bySequence.set(entry.sequence, entry);
  }

  remove({ sequence }: Running): void {
    this.bySequence.delete(sequence);
  }

  /** Ends a job with the last of its tasks, or with the first that fails. */
  finish(entry: Running, outcome: JobResult | HundredweightError): void {
    const { job } = entry;
    if (!this.bySequence.has(entry.sequence)) return;
    for (const ended of outcome instanceof HundredweightError ? this.of(job.id) : [entry]) {
      const { sequence, task } = ended;
      this.bySequence.delete(sequence);
      this.onEnded(ended);
      if (task.past === "gone") this.cache.release(sequence);
      else this.prefixes.keep(ended, task.past === "spare");
    }
    this.onFreed();
    if (this.of(job.id).length > 0) return;
    this.paused.delete(job.id);
    job.settle(outcome);
  }

  finishAll(error: HundredweightError): void {
    for (const entry of this) this.finish(entry, error);
  }
}
