/**
 * Bounds of one rendering. A template is a stranger's program: what it may do is counted in steps, nested calls, units
 * made (characters and items) and time, and the first bound that is passed ends it.
 */
// Imported: the global of this name is loaded at its first use, which may be too late where memory is limited.
import { performance } from "node:perf_hooks";
import { type PassedLimit, TemplateFault } from "./errors.js";

export interface Limits {
  /** Evaluations of statements, expressions and items of loops. */
  readonly steps: number;
  /** Calls of macros and recursive loops within each other. */
  readonly depth: number;
  /** Characters of one string; an item of a list counts as eight. */
  readonly size: number;
  /** Characters made in all, items as above. */
  readonly made: number;
  /** And half a millisecond more for each thousand characters that are given to the template. */
  readonly timeMs: number;
}

/** A conversation of a hundred messages takes some ten thousand steps; a million take a quarter of a second. */
export const usualLimits: Limits = {
  steps: 2_000_000,
  depth: 120,
  size: 16 * 2 ** 20,
  made: 24 * 2 ** 20,
  timeMs: 2_000,
};

/** Integers above are no use to a template and take quadratic time to print. */
export const maxIntegerBits = 1 << 14;
/** Jinja's sandbox refuses longer ranges. */
export const maxRange = 100_000;
/** How deep expressions and statements of a source may be nested. */
export const maxNesting = 150;

const checkEvery = 1 << 12;

class Budget {
  private steps: number;
  private made: number;
  private depth: number;
  private nextCheck: number;
  private readonly limits: Limits;
  private readonly timeMs: number;
  private readonly endsAt: number;

  constructor(limits: Limits, inputLength: number) {
    this.limits = limits;
    // A long conversation may be walked and copied a few times by a template that means no harm.
    this.steps = limits.steps + 4 * inputLength;
    this.made = limits.made + 8 * inputLength;
    this.depth = limits.depth;
    this.timeMs = limits.timeMs + inputLength / 2000;
    this.endsAt = performance.now() + this.timeMs;
    this.nextCheck = this.steps - checkEvery;
  }

  step(count: number): void {
    this.steps -= count;
    if (this.steps > this.nextCheck) return;
    if (this.steps < 0) throw over("time", "takes too many steps");
    if (performance.now() > this.endsAt) throw over("time", `takes longer than ${this.timeMs / 1000} s`);
    this.nextCheck = this.steps - checkEvery;
  }

  make(units: number): void {
    if (units > this.limits.size) throw over("memory", `makes a string or list of ${units} units`);
    this.made -= units;
    if (this.made < 0) throw over("memory", "makes too much text");
    this.step(1 + (units >> 6));
  }

  /** A string that shares the memory of its parts. */
  join(units: number): void {
    if (units > this.limits.size) throw over("memory", `makes a string of ${units} characters`);
    this.step(1);
  }

  enter(): void {
    if (--this.depth < 0) throw over("depth", "calls itself too deeply");
  }

  leave(): void {
    this.depth++;
  }
}

function over(limit: PassedLimit, what: string): TemplateFault {
  return new TemplateFault("LimitError", `the template ${what}`, limit);
}

/** Rendering is synchronous, so one budget is in force at a time; outside of a rendering nothing is bounded. */
let current: Budget | undefined;

/** @param inputLength characters of the values given to the template */
export function withLimits<T>(limits: Limits, inputLength: number, work: () => T): T {
  const before = current;
  current = new Budget(limits, inputLength);
  try {
    return work();
  } catch (error) {
    // The stack of the host is a bound, too.
    if (error instanceof RangeError) throw over("depth", `cannot be evaluated: ${error.message}`);
    throw error;
  } finally {
    current = before;
  }
}

/**
 * Values are made outside of a rendering. One that was broken off from without never ended its budget, which must not
 * count against them.
 */
export function endLimits(): void {
  current = undefined;
}

export const step = (count = 1): void => current?.step(count);
/** A string is looked through by one call of the host: a comparison, a search. */
export const scan = (units: number): void => current?.step(units >> 5);
/** The same by code points or by a pattern, which costs about as much as a step for every four. */
export const walk = (units: number): void => current?.step(units >> 2);
export const make = (units: number): void => current?.make(units);
/** Items take as much memory as eight characters. */
export const makeItems = (count: number): void => current?.make(8 * count);
export const join = (units: number): void => current?.join(units);
export const enter = (): void => current?.enter();
export const leave = (): void => current?.leave();
