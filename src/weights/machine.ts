/**
 * The facts of a machine that a plan needs. Rates are measured by the probe; these are careful guesses until it has
 * run.
 */
import { defaultThreads } from "../native/threads.js";
import type { DiskTable } from "./disk-rates.js";
import { type Ceiling, memoryLimit } from "./memory-limit.js";

/** Rates at which a prompt's rows are computed: all threads, by their processor time. */
export interface ComputeRates {
  /** Products by type: operations a second (two per multiply-add), and the cost of unpacking the weights, in rows. */
  readonly products: Readonly<Record<string, { readonly opsPerSecond: number; readonly unpackRows: number }>>;
  readonly attentionOpsPerSecond: number;
  readonly gateValuesPerSecond: number;
}

export interface MachineProfile {
  /** The machine's memory, or the tightest limit this process runs under. */
  readonly memoryLimitBytes: number;
  /** Bytes a model may take now: free below every limit, less a margin. */
  readonly availableBytes: number;
  /** The name of the limit, and what is kept below it for others; absent: nobody asked. For sentences only. */
  readonly ceiling?: Ceiling & { readonly marginBytes: number };
  /** All compute threads together. */
  readonly memoryReadBytesPerSecond: number;
  /**
   * The rate of what has been read before; a cache below a virtual machine can make the first time several times
   * slower.
   */
  readonly diskReadBytesPerSecond: number;
  readonly diskFirstTouchBytesPerSecond: number;
  /** How the rate depends on size and number of reads; absent: not measured. */
  readonly diskTable?: DiskTable;
  /**
   * Processor time that a byte read from the disk costs: the system's work, which products wait for. Absent: not
   * measured.
   */
  readonly diskProcessorSecondsPerByte?: number;
  /** Two per multiply-add, products of many rows. */
  readonly gemmOpsPerSecond: number;
  /** The same of each type, and of the rest of a prompt; absent: not measured. */
  readonly computeRates?: ComputeRates;
  readonly threads: number;
}

/** Slow for an NVMe disk, right for a SATA SSD's burst or a cloud volume. */
const guessedDiskRate = 1e9;
/**
 * A thread's share of the memory rate, what two channels of DDR4 give all of them, and a thread's products: the slowest
 * machine with AVX2 that was measured (Zen 3) did 12, 25 and 95. Others are up to five times as fast, so plans measure.
 */
const guessedMemoryRate = { perThread: 10e9, most: 40e9 };
const guessedGemmRate = 80e9;

/** The machine as it is now with guessed rates; `known` replaces what has been measured or given. */
export function defaultMachine(known: Partial<MachineProfile> = {}, root = "/"): MachineProfile {
  const limit = memoryLimit(root);
  const threads = known.threads ?? defaultThreads();
  const disk = known.diskReadBytesPerSecond ?? guessedDiskRate;
  return {
    memoryLimitBytes: limit.ceiling.bytes,
    availableBytes: limit.budgetBytes,
    ceiling: { ...limit.ceiling, marginBytes: limit.marginBytes },
    memoryReadBytesPerSecond: Math.min(guessedMemoryRate.most, guessedMemoryRate.perThread * threads),
    diskReadBytesPerSecond: disk,
    diskFirstTouchBytesPerSecond: disk / 2,
    gemmOpsPerSecond: guessedGemmRate * threads,
    threads,
    ...known,
  };
}
