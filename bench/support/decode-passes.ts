/** The cost of a pass of one token, from the ledger of a run. */
import { median } from "../../src/cli/reports/statistics.js";
import type { LedgerEntry } from "../../src/link/protocol.js";

export interface DecodePass {
  readonly seconds: number;
  readonly computeSeconds: number;
  readonly diskBytes: number;
  /** Share of the chosen experts that were in memory; undefined without experts. */
  readonly hitRate: number | undefined;
}

/** Medians of the passes of one row; the first `skip` of them, which touch memory for the first time, do not count. */
export function medianDecodePass(ledger: readonly LedgerEntry[], skip: number): DecodePass {
  const passes = ledger.filter(({ rows }) => rows === 1).slice(skip);
  const of = (value: (pass: LedgerEntry) => number): number => median(passes.map(value));
  const sum = (value: (pass: LedgerEntry) => number): number => passes.reduce((total, pass) => total + value(pass), 0);
  const [hits, misses] = [sum((p) => p.expertHits), sum((p) => p.expertMisses)];
  return {
    seconds: of((p) => (p.stallMs + p.computeMs) / 1000),
    computeSeconds: of((p) => p.computeMs / 1000),
    diskBytes: of((p) => p.diskBytes),
    hitRate: hits + misses === 0 ? undefined : hits / (hits + misses),
  };
}
