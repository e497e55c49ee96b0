/** A job as it was submitted, and what the scheduler knows of it once it runs. */
import type { HundredweightError } from "../errors.js";
import type { JobEvent, JobResult } from "./jobs.js";
import type { Task } from "./task.js";

export interface SchedulerJob {
  readonly id: number;
  readonly user: string;
  /** One for each of its sequences; they begin together, and the job ends with the last of them. */
  readonly tasks: readonly Task[];
  /** Its passes are to have no rows of other jobs: it begins when nobody runs, and others begin when it has ended. */
  readonly apart?: boolean;
  readonly emit: (event: JobEvent) => void;
  /** Given the result of the task that ended last. */
  readonly settle: (outcome: JobResult | HundredweightError) => void;
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

export interface Running {
  readonly job: SchedulerJob;
  readonly task: Task;
  readonly sequence: number;
  readonly tokens: Int32Array;
  readonly begun: Begun;
  /** Positions of its prompt whose past is to be kept, of models that cannot go back; ascending. */
  readonly checkpoints: readonly number[];
  /** Prompt rows that others got since this one was admitted. */
  overtaken: number;
  /** The last pass it was part of. */
  servedIn: number;
}
