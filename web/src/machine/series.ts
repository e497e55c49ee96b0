/** Columns for the charts out of the server's samples. Pure. */
import type { Sample } from "../../../src/server/ui/wire.js";

export interface Series {
  /** Seconds since 1970. */
  readonly times: number[];
  readonly generated: (number | null)[];
  readonly prompt: (number | null)[];
  /** Per token row of the passes seen. */
  readonly disk: (number | null)[];
  /** Milliseconds per pass; stall is drawn on top of compute. */
  readonly compute: (number | null)[];
  readonly pass: (number | null)[];
  readonly hitRate: (number | null)[];
  readonly context: number[];
  readonly running: number[];
  readonly waiting: number[];
}

/**
 * Values of passes are drawn from one pass to the next: those of a slow model are many samples apart. Null where
 * nothing ran: charts leave a gap there.
 */
export function seriesOf(samples: readonly Sample[]): Series {
  const ratio = (a: number, b: number) => (b > 0 ? a / b : null);
  /** Values of samples with passes; in between the value before, as long as something runs. */
  const held = (of: (sample: Sample, seconds: number) => number | null, pause: () => void = () => {}) => {
    let seconds = 0;
    let value: number | null = null;
    return samples.map((sample) => {
      seconds += sample.seconds;
      if (sample.passes > 0) {
        value = of(sample, seconds);
        seconds = 0;
      } else if (sample.running === 0) {
        value = null;
        seconds = 0;
        pause();
      }
      return value;
    });
  };
  /** Tokens per second over the last two seconds, or since the pass before when that is longer ago. */
  const rate = (tokensOf: (sample: Sample) => number) => {
    let recent: { tokens: number; seconds: number }[] = [];
    const sum = (key: "tokens" | "seconds") => recent.reduce((total, part) => total + part[key], 0);
    return held(
      (sample, seconds) => {
        recent.push({ tokens: tokensOf(sample), seconds });
        while (sum("seconds") - recent[0]!.seconds >= 2) recent.shift();
        return sum("tokens") / sum("seconds");
      },
      () => {
        recent = [];
      },
    );
  };
  return {
    times: samples.map((s) => s.time / 1000),
    generated: rate((s) => s.generatedTokens),
    prompt: rate((s) => s.promptTokens - s.cachedTokens),
    disk: held(({ seen }) => ratio(seen.diskBytes, seen.rows)),
    compute: held(({ seen }) => ratio(seen.computeMs, seen.passes)),
    pass: held(({ seen }) => ratio(seen.computeMs + seen.stallMs, seen.passes)),
    hitRate: held(({ seen }) => ratio(100 * seen.expertHits, seen.expertHits + seen.expertMisses)),
    context: samples.map((s) => s.kvTokensUsed),
    running: samples.map((s) => s.running),
    waiting: samples.map((s) => s.waiting),
  };
}

/** Figures of the last seconds. */
export interface Now {
  readonly tokensPerSecond: number;
  readonly promptPerSecond: number;
  readonly diskBytesPerToken: number | undefined;
  readonly stallShare: number | undefined;
  readonly hitRate: number | undefined;
}

/** The last three seconds; of a slow model from one end of a pass to a later one. */
export function nowOf(samples: readonly Sample[]): Now {
  const recent: Sample[] = [];
  let seconds = 0;
  for (let i = samples.length - 1; i >= 0; i--) {
    const sample = samples[i]!;
    if (recent.length === 0 && sample.running > 0 && sample.passes === 0) continue; // a pass that has not ended
    if (seconds >= 3 && (sample.passes > 0 || sample.running === 0)) break;
    recent.push(sample);
    seconds += sample.seconds;
  }
  const sum = (of: (sample: Sample) => number) => recent.reduce((total, sample) => total + of(sample), 0);
  const share = (a: number, b: number) => (b > 0 ? a / b : undefined);
  const stall = sum((s) => s.seen.stallMs);
  const hits = sum((s) => s.seen.expertHits);
  return {
    tokensPerSecond:
      share(
        sum((s) => s.generatedTokens),
        seconds,
      ) ?? 0,
    promptPerSecond:
      share(
        sum((s) => s.promptTokens - s.cachedTokens),
        seconds,
      ) ?? 0,
    diskBytesPerToken: share(
      sum((s) => s.seen.diskBytes),
      sum((s) => s.seen.rows),
    ),
    stallShare: share(stall, stall + sum((s) => s.seen.computeMs)),
    hitRate: share(hits, hits + sum((s) => s.seen.expertMisses)),
  };
}

/** The cost of a token of an answer. */
export interface TokenCost {
  readonly seconds: number;
  /** Waiting for the disk; undefined where nobody measured. */
  readonly stallSeconds: number | undefined;
  readonly diskBytes: number;
}

/** Samples that are looked at: the last two minutes. */
const mostSamples = 240;
/** Rows a pass may have to be one of answers, not of prompts. */
const fewRows = 4;

/** The cost in the latest passes that answers were made in; undefined where none was seen. */
export function tokenCostOf(samples: readonly Sample[]): TokenCost | undefined {
  let passes = 0;
  let [compute, stall, disk] = [0, 0, 0];
  // All passes between two samples, and what an answer got of them: guesses that were right are tokens, too.
  let [counted, tokens] = [0, 0];
  for (let i = samples.length - 1; i >= Math.max(0, samples.length - mostSamples) && passes < 20; i--) {
    const { seen, running, generatedTokens, passes: all } = samples[i]!;
    if (seen.passes === 0 || seen.rows > fewRows * seen.passes) continue;
    passes += seen.passes;
    counted += all;
    tokens += generatedTokens / Math.max(1, running);
    compute += seen.computeMs;
    stall += seen.stallMs;
    disk += seen.diskBytes;
  }
  if (passes === 0) return undefined;
  const made = passes * Math.max(1, counted === 0 ? 0 : tokens / counted);
  return { seconds: (compute + stall) / (1000 * made), stallSeconds: stall / (1000 * made), diskBytes: disk / made };
}
