/** Runs a bound model over one sequence, and compares distributions. For tests. */

import { openCheckpoint } from "../../src/containers/index.js";
import { type BoundModel, bindModel, type ModelOptions } from "../../src/models/index.js";
import { type Ops, pagePositions } from "../../src/ops/ops.js";

export async function openModel(path: string, ops: Ops, options: Partial<ModelOptions> = {}): Promise<BoundModel> {
  const checkpoint = await openCheckpoint(path);
  return bindModel(checkpoint, ops, {
    contextTokens: 1024,
    maxRows: 512,
    sequences: 1,
    kvType: "f16",
    maxLogitRows: 512,
    ...options,
  });
}

/**
 * Logits after each token of one sequence, evaluated in passes of `chunk` rows. Pages are never given back here, so a
 * window is all the attention's own work.
 * @shape [tokens][vocab]
 */
export async function evaluate(model: BoundModel, ids: ArrayLike<number>, chunk = 512): Promise<Float32Array[]> {
  const blocks = Math.ceil(ids.length / pagePositions);
  const blockTables = model.kvGroups.map(({ every }) => [
    Int32Array.from({ length: Math.ceil(blocks / every) }, (_, i) => i),
  ]);
  const out: Float32Array[] = [];
  for (let from = 0; from < ids.length; from += chunk) {
    const part = Int32Array.from(Array.from(ids).slice(from, from + chunk));
    const rows = {
      count: part.length,
      ids: part,
      positions: part.map((_, i) => from + i),
      sequences: new Int32Array(part.length),
      blockTables,
      tokens: [Int32Array.from(ids)],
      // A pass reads what the one before wrote.
      slots: Int32Array.of(from === 0 ? -1 : (from / chunk) % 2, (from / chunk + 1) % 2, -1),
    };
    const { vocab } = model.config;
    await model.forward(
      rows,
      part.map((_, i) => i),
      (logits, first) => {
        for (let i = 0; i < logits.length / vocab; i++)
          out[from + first + i] = logits.slice(i * vocab, (i + 1) * vocab);
      },
    );
  }
  return out;
}

export function logSoftmax(logits: Float32Array): Float64Array {
  const n = logits.length;
  let max = -Infinity;
  for (let i = 0; i < n; i++) if (logits[i]! > max) max = logits[i]!;
  let sum = 0;
  for (let i = 0; i < n; i++) sum += Math.exp(logits[i]! - max);
  const constant = max + Math.log(sum);
  // Float64Array.from with a function is an iterator's walk, ten times as long.
  const out = new Float64Array(n);
  for (let i = 0; i < n; i++) out[i] = logits[i]! - constant;
  return out;
}

/** KL(p, q) in nats of rows of log-probabilities, mean over positions. */
export function klOfLogs(p: readonly Float64Array[], q: readonly Float64Array[]): number {
  let total = 0;
  for (const [t, row] of p.entries()) {
    const other = q[t]!;
    for (let i = 0; i < row.length; i++) total += Math.exp(row[i]!) * (row[i]! - other[i]!);
  }
  return total / p.length;
}

/** The same of logits. */
export function meanKl(p: readonly Float32Array[], q: readonly Float32Array[]): number {
  return klOfLogs(p.map(logSoftmax), q.map(logSoftmax));
}

/** Entropy in nats, mean over positions. */
export function meanEntropy(p: readonly Float32Array[]): number {
  let total = 0;
  for (const row of p) for (const l of logSoftmax(row)) total -= l === -Infinity ? 0 : Math.exp(l) * l;
  return total / p.length;
}

/** Repeatable token ids in [0, vocab). */
export function randomTokens(count: number, vocab: number, seed = 1): number[] {
  let state = seed;
  return Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * vocab);
  });
}
