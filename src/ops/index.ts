/** Chooses the implementation of `Ops`. */
import { HundredweightError } from "../errors.js";
import { addonStatus, loadAddon } from "../native/addon.js";
import { limits } from "../native/boundary.js";
import { type ThreadLayout, type ThreadOptions, threadLayout } from "../native/threads.js";
import { NativeOps } from "./native.js";
import type { Backend, WeightPlacement } from "./ops.js";
import type { MemoryPromise } from "./placement.js";
import { ReferenceOps } from "./reference.js";

/** Threads are of the native implementation. */
export interface OpsOptions extends ThreadOptions {
  /** `auto` (the default): the addon when there is one, else the reference with one warning on stderr. */
  readonly kind?: "auto" | "native" | "reference";
  /** Instead of what follows from the options and this machine: tests of machines one does not sit at. */
  readonly layout?: ThreadLayout;
  /** Instruction set; by default HUNDREDWEIGHT_ISA or the best that passed its self-check. */
  readonly isa?: string;
  /** Where the native implementation keeps weights; they are mapped without one. */
  readonly placement?: WeightPlacement;
  /** Memory that a native model may hold. */
  readonly promise?: MemoryPromise;
}

let warned = false;

/** @throws NATIVE_UNAVAILABLE (kind `native`, or a build of another version), OPTION_INVALID (threads, isa) */
export function createOps(options: OpsOptions = {}): Backend {
  const kind = options.kind ?? "auto";
  if (kind === "reference") return new ReferenceOps();
  const addon = loadAddon();
  if (addon === undefined) {
    const { state, reason } = addonStatus();
    const why = `the native addon is not used: ${reason}`;
    // Who built it wants it: a hundred times slower in silence would be the wrong answer to a forgotten build.
    if (kind === "native" || state === "outdated")
      throw new HundredweightError("NATIVE_UNAVAILABLE", `${why}; run: npm run build:native`);
    if (!warned && state !== "off") {
      process.stderr.write(`warning: ${why}; the reference implementation runs instead, about 100 times slower\n`);
      warned = true;
    }
    return new ReferenceOps();
  }
  return new NativeOps(addon, {
    threads: atMost(limits.maxThreads, options.layout ?? threadLayout(options)),
    isa: options.isa ?? null,
    ...(options.placement !== undefined && { placement: options.placement }),
    ...(options.promise !== undefined && { promise: options.promise }),
  });
}

function atMost(limit: number, layout: ThreadLayout): ThreadLayout {
  const { threads, threadsBatch, most } = layout;
  return {
    ...layout,
    threads: Math.min(threads, limit),
    threadsBatch: Math.min(threadsBatch, limit),
    most: Math.min(most, limit),
  };
}

export type * from "./ops.js";
export type { MemoryPromise } from "./placement.js";
