/** Rates out of the samples of a server. */
import type { Sample } from "../../server/index.js";

export interface Rates {
  readonly tokensPerSecond: number;
  /** Tokens of prompts that were evaluated. */
  readonly promptPerSecond: number;
  readonly diskBytesPerSecond: number;
  /** The part of the time of passes that waited for the disk; undefined without passes. */
  readonly stallShare: number | undefined;
  readonly passesPerSecond: number;
  readonly rowsPerPass: number | undefined;
  readonly bytesPerPass: number | undefined;
  /** Chosen experts that were in slots, of all that were chosen; undefined where no expert is. */
  readonly expertHitShare: number | undefined;
}

/** Passes of a small model are more than the server looks at: those it saw stand for all. */
export function ratesOf(samples: readonly Sample[]): Rates {
  const sum = (of: (sample: Sample) => number): number => samples.reduce((all, sample) => all + of(sample), 0);
  const seconds = Math.max(
    1e-3,
    sum((s) => s.seconds),
  );
  const passes = sum((s) => s.passes);
  const seen = sum((s) => s.seen.passes);
  const stallMs = sum((s) => s.seen.stallMs);
  const passMs = stallMs + sum((s) => s.seen.computeMs);
  const [hits, misses] = [sum((s) => s.seen.expertHits), sum((s) => s.seen.expertMisses)];
  const perSeen = (amount: number): number | undefined => (seen === 0 ? undefined : amount / seen);
  const bytesPerPass = perSeen(sum((s) => s.seen.diskBytes));
  return {
    tokensPerSecond: sum((s) => s.generatedTokens) / seconds,
    promptPerSecond: sum((s) => s.promptTokens - s.cachedTokens) / seconds,
    diskBytesPerSecond: ((bytesPerPass ?? 0) * passes) / seconds,
    stallShare: passMs === 0 ? undefined : stallMs / passMs,
    passesPerSecond: passes / seconds,
    rowsPerPass: perSeen(sum((s) => s.seen.rows)),
    bytesPerPass,
    expertHitShare: hits + misses === 0 ? undefined : hits / (hits + misses),
  };
}

const blocks = "\u2581\u2582\u2583\u2584\u2585\u2586\u2587\u2588";

/** A line of blocks, the newest last; each stands for `per` values. Nothing is a space, none stands at the end. */
export function sparkline(values: readonly number[], columns: number, per: number): string {
  const means: number[] = [];
  for (let end = values.length; end > 0 && means.length < columns; end -= per) {
    const part = values.slice(Math.max(0, end - per), end);
    means.unshift(part.reduce((sum, value) => sum + value, 0) / part.length);
  }
  const most = Math.max(...means, Number.MIN_VALUE);
  return means
    .map((mean) => (mean <= 0 ? " " : blocks[Math.min(blocks.length - 1, Math.floor((mean / most) * blocks.length))]))
    .join("")
    .trimEnd();
}

/** `[####....]` of so many columns. */
export function bar(share: number, columns: number): string {
  const inside = Math.max(1, columns - 2);
  const full = Math.min(inside, Math.max(0, Math.round(share * inside)));
  return `[${"#".repeat(full)}${".".repeat(inside - full)}]`;
}
