/** Columns for the charts out of the server's samples. Pure. */
import type { Sample } from "../../../src/server/ui/wire.js";

export interface Series {
  /** Seconds since 1970. */
  readonly times: number[];
  readonly generated: (number | null)[];
  readonly prompt: (number | null)[];
  /** Per token row of the passes seen. */
  readonly disk: (number | null)[];
  readonly memory: (number | null)[];
  /** Milliseconds per pass; stall is drawn on top of compute. */
  readonly compute: (number | null)[];
  readonly pass: (number | null)[];
  readonly hitRate: (number | null)[];
  readonly running: number[];
  readonly waiting: number[];
}

/** Null where nothing ran: charts leave a gap there. */
export function seriesOf(samples: readonly Sample[]): Series {
  const ratio = (a: number, b: number) => (b > 0 ? a / b : null);
  return {
    times: samples.map((s) => s.time / 1000),
    generated: samples.map((s) => ratio(s.generatedTokens, s.seconds)),
    prompt: samples.map((s) => ratio(s.promptTokens, s.seconds)),
    disk: samples.map(({ seen }) => ratio(seen.diskBytes, seen.rows)),
    memory: samples.map(({ seen }) => ratio(seen.pinnedBytes, seen.rows)),
    compute: samples.map(({ seen }) => ratio(seen.computeMs, seen.passes)),
    pass: samples.map(({ seen }) => ratio(seen.computeMs + seen.stallMs, seen.passes)),
    hitRate: samples.map(({ seen }) => ratio(100 * seen.expertHits, seen.expertHits + seen.expertMisses)),
    running: samples.map((s) => s.running),
    waiting: samples.map((s) => s.waiting),
  };
}

/** Figures of the last seconds in which something ran. */
export interface Now {
  readonly tokensPerSecond: number;
  readonly promptPerSecond: number;
  readonly diskBytesPerToken: number | undefined;
  readonly stallShare: number | undefined;
  readonly hitRate: number | undefined;
}

export function nowOf(samples: readonly Sample[], seconds = 3): Now {
  const recent: Sample[] = [];
  let span = 0;
  for (let i = samples.length - 1; i >= 0 && span < seconds; i--) {
    recent.push(samples[i]!);
    span += samples[i]!.seconds;
  }
  const sum = (of: (sample: Sample) => number) => recent.reduce((total, sample) => total + of(sample), 0);
  const share = (a: number, b: number) => (b > 0 ? a / b : undefined);
  const stall = sum((s) => s.seen.stallMs);
  const hits = sum((s) => s.seen.expertHits);
  return {
    tokensPerSecond:
      share(
        sum((s) => s.generatedTokens),
        span,
      ) ?? 0,
    promptPerSecond:
      share(
        sum((s) => s.promptTokens),
        span,
      ) ?? 0,
    diskBytesPerToken: share(
      sum((s) => s.seen.diskBytes),
      sum((s) => s.seen.rows),
    ),
    stallShare: share(stall, stall + sum((s) => s.seen.computeMs)),
    hitRate: share(hits, hits + sum((s) => s.seen.expertMisses)),
  };
}
