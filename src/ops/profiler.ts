/** Keeps the times of a run: sums per kind of call, and on request every call for a trace. Plain numbers, cloneable. */
import type { ThreadSpan, ThreadSpans } from "./thread-spans.js";

/** The bound of a call: the arithmetic of integer or float products, or nothing but memory. */
export type Arithmetic = "int8" | "float" | "none";

/** The bytes and operations of a call; all calls of one name share the arithmetic. */
export interface Work {
  readonly name: string;
  /** Kernel calls are told from the engine's own work (row tables, reading logits, sampling). */
  readonly kernel: boolean;
  readonly arithmetic: Arithmetic;
  /** Bytes that came from weights, KV pages or activations. */
  readonly bytes: number;
  /** Two per multiply-add. */
  readonly operations: number;
}

export interface ProfileEntry {
  readonly name: string;
  readonly kernel: boolean;
  readonly arithmetic: Arithmetic;
  readonly calls: number;
  readonly ms: number;
  readonly bytes: number;
  readonly operations: number;
}

/** `decode`: every row of the pass belongs to another sequence; the weights are read for few rows. */
export type ProfilePhase = "prefill" | "decode";

export interface PhaseProfile {
  readonly phase: ProfilePhase;
  readonly passes: number;
  /** Token rows of all passes. */
  readonly rows: number;
  /** From the beginning of each pass to that of the next, or to the end of the job: sampling and events are in it. */
  readonly wallMs: number;
  /** Most time first. */
  readonly entries: readonly ProfileEntry[];
}

/** One call. Times in microseconds since the profiler was made. */
export interface TraceEvent {
  readonly name: string;
  readonly startUs: number;
  readonly durationUs: number;
  readonly rows: number;
  readonly bytes: number;
  readonly operations: number;
  /** Shapes of what took part, e.g. `[1, 576] x 1536x576 q4_1`. */
  readonly shape: string;
}

/** A thread at work on parts of a call. Times as in `TraceEvent`. */
export interface ThreadEvent {
  readonly thread: number;
  readonly startUs: number;
  readonly durationUs: number;
}

export interface ProfileReport {
  readonly phases: readonly PhaseProfile[];
  /** In order of their start; empty when only times were asked for. */
  readonly trace: readonly TraceEvent[];
  /** In the order of their ends; empty where threads are not told. */
  readonly threads: readonly ThreadEvent[];
  /** Index of the first event of each cycle of the schedule that was traced; without a schedule all is one. */
  readonly cycles: readonly number[];
  /** Calls that came after the trace was full. */
  readonly droppedEvents: number;
}

interface Phase {
  passes: number;
  rows: number;
  wallMs: number;
  readonly entries: Map<string, { -readonly [K in keyof ProfileEntry]: ProfileEntry[K] }>;
}

/**
 * Which passes are told: `wait` are not, nor are `warmup`, then `active` are; so `repeat` times, or for ever when that
 * is 0.
 * @source torch.profiler.schedule
 */
export interface ProfileSchedule {
  readonly wait: number;
  readonly warmup: number;
  readonly active: number;
  readonly repeat: number;
}

/** @returns the cycle, counted from 0, whose active pass is number `step` (from 0); undefined for any other pass */
export function activeCycle({ wait, warmup, active, repeat }: ProfileSchedule, step: number): number | undefined {
  const length = wait + warmup + active;
  const cycle = Math.floor(step / length);
  if (repeat > 0 && cycle >= repeat) return undefined;
  return step % length >= wait + warmup ? cycle : undefined;
}

/** About 100 bytes each; a 1B model makes 300 a pass. */
const maxEvents = 200_000;

export class Profiler {
  private readonly traced: boolean;
  private readonly now: () => number;
  private readonly origin: number;
  private phases = new Map<ProfilePhase, Phase>();
  private current: Phase | undefined;
  private began = 0;
  private passRows = 0;
  private passEvent = 0;
  private trace: TraceEvent[] = [];
  private threads: ThreadEvent[] = [];
  private readonly spans: ThreadSpans | undefined;
  private spansLost = 0;
  private dropped = 0;
  private readonly schedule: ProfileSchedule | undefined;
  private step = 0;
  /** The cycle that the pass which runs is told in. */
  private cycle: number | undefined;
  private cycles: number[] = [];

  /**
   * @param now milliseconds of a clock that never goes back
   * @param spans by the same clock; of a trace only
   */
  constructor(
    traced: boolean,
    now: () => number = () => performance.now(),
    schedule?: ProfileSchedule,
    spans?: ThreadSpans,
  ) {
    this.traced = traced;
    this.now = now;
    this.schedule = schedule;
    this.spans = spans;
    this.origin = now();
  }

  /** Begins a pass, and with it the stretch of time that is accounted to its phase. */
  pass(phase: ProfilePhase, rows: number): void {
    this.pause();
    this.spans?.take(); // nobody's, or those of a pass that is not told
    if (!this.begins()) return;
    let current = this.phases.get(phase);
    if (current === undefined) {
      current = { passes: 0, rows: 0, wallMs: 0, entries: new Map() };
      this.phases.set(phase, current);
    }
    current.passes++;
    current.rows += rows;
    this.current = current;
    this.began = this.now();
    this.passRows = rows;
    // Its end is not known yet: the place is kept, so that the calls inside follow it.
    this.passEvent = this.record(phase, this.began, 0, rows, 0, 0, () => `${rows} rows`);
  }

  /** Counts a pass.  @returns whether it is told */
  private begins(): boolean {
    if (this.schedule === undefined) return true;
    const before = this.cycle;
    this.cycle = activeCycle(this.schedule, this.step++);
    if (this.cycle !== undefined && this.cycle !== before) this.cycles.push(this.trace.length);
    return this.cycle !== undefined;
  }

  /** Ends the stretch: what happens until the next pass is nobody's. */
  pause(): void {
    if (this.current === undefined) return;
    const elapsed = this.now() - this.began;
    this.current.wallMs += elapsed;
    this.current = undefined;
    const event = this.trace[this.passEvent];
    if (event !== undefined) this.trace[this.passEvent] = { ...event, durationUs: 1000 * elapsed };
    for (const span of this.spans?.take() ?? []) this.recordSpan(span);
  }

  private recordSpan({ thread, begin, end }: ThreadSpan): void {
    if (this.threads.length >= maxEvents) this.dropped++;
    else this.threads.push({ thread, startUs: 1000 * (begin - this.origin), durationUs: 1000 * (end - begin) });
  }

  /** No more spans are kept. */
  close(): void {
    this.spans?.close();
  }

  /** The clock, for `add`. */
  clock(): number {
    return this.now();
  }

  /**
   * A call from `start` (by `clock`) to now. Outside a pass it is only traced.
   * @param shape asked for a trace only: made for every call, shapes would be most of what a profile costs
   */
  add(work: Work, start: number, shape?: () => string): void {
    if (this.schedule !== undefined && this.cycle === undefined) return;
    const ms = this.now() - start;
    this.record(work.name, start, ms, this.passRows, work.bytes, work.operations, shape);
    const entries = this.current?.entries;
    if (entries === undefined) return;
    const { name, kernel, arithmetic, bytes, operations } = work;
    const entry = entries.get(name);
    if (entry === undefined) {
      entries.set(name, { name, kernel, arithmetic, calls: 1, ms, bytes, operations });
      return;
    }
    entry.calls++;
    entry.ms += ms;
    entry.bytes += bytes;
    entry.operations += operations;
  }

  /** Times work of the engine itself. */
  time<T>(name: string, run: () => T): T {
    const start = this.now();
    const result = run();
    this.add({ name, kernel: false, arithmetic: "none", bytes: 0, operations: 0 }, start);
    return result;
  }

  /** Returns what was gathered since the last time; the schedule begins anew. */
  take(): ProfileReport {
    this.pause();
    const phases = [...this.phases].map(([phase, { passes, rows, wallMs, entries }]) => ({
      phase,
      passes,
      rows,
      wallMs,
      entries: [...entries.values()].sort((a, b) => b.ms - a.ms),
    }));
    const cycles = this.schedule === undefined && this.trace.length > 0 ? [0] : this.cycles;
    const lost = this.spans?.lost ?? 0;
    const droppedEvents = this.dropped + lost - this.spansLost;
    const report = { phases, trace: this.trace, threads: this.threads, cycles, droppedEvents };
    this.spansLost = lost;
    this.phases = new Map();
    this.trace = [];
    this.threads = [];
    this.dropped = 0;
    this.step = 0;
    this.cycle = undefined;
    this.cycles = [];
    return report;
  }

  /** @returns the index of the event, -1 when there is none */
  private record(
    name: string,
    start: number,
    ms: number,
    rows: number,
    bytes: number,
    operations: number,
    shape?: () => string,
  ): number {
    if (!this.traced) return -1;
    if (this.trace.length >= maxEvents) {
      this.dropped++;
      return -1;
    }
    const startUs = 1000 * (start - this.origin);
    return (
      this.trace.push({ name, startUs, durationUs: 1000 * ms, rows, bytes, operations, shape: shape?.() ?? "" }) - 1
    );
  }
}
