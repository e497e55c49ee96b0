/** Counters of an implementation, and of the machine that it shares. */

/** The machine that models of a process share. */
export interface MachineUse {
  /** Compute threads, and how many models run on these. */
  readonly threads: number;
  readonly models: number;
  /** Bytes of all models of the process: reserved now, the most ever, and promised. */
  readonly chargedBytes: number;
  readonly peakBytes: number;
  readonly promisedBytes: number;
}

export interface OpsCounters {
  /** Bytes allocated by purpose and the number of allocations since the start; both stand still after `seal()`. */
  readonly activationBytes: number;
  readonly kvBytes: number;
  readonly scratchBytes: number;
  readonly weightBytes: number;
  readonly allocations: number;
}
