/** Turns of the comparison with llama-bench, gathered over many processes, so that a machine can be asked in slices. */
import { existsSync, readFileSync } from "node:fs";
import { median } from "../../src/cli/reports/statistics.js";

/** Tokens per second of one turn. */
export interface Turn {
  readonly model: string;
  readonly test: string;
  readonly size: number;
  readonly rival: string;
  readonly ours: number;
  readonly mmap: number;
  readonly noMmap: number;
  readonly loadAverage: number;
}

export function readTurns(file: string | undefined): Turn[] {
  if (file === undefined || !existsSync(file)) return [];
  return [...(JSON.parse(readFileSync(file, "utf8")) as { turns: readonly Turn[] }).turns];
}

/** A line for each model and test: medians, spread, ratio to the better of llama.cpp's two ways of loading. */
export function summarizeTurns(turns: readonly Turn[]): string[] {
  const groups = new Map<string, Turn[]>();
  for (const turn of turns) {
    const key = `${turn.model} ${turn.test} ${turn.size}`;
    groups.set(key, [...(groups.get(key) ?? []), turn]);
  }
  const range = (values: readonly number[], digits: number): string =>
    `${median(values).toFixed(digits)} (${Math.min(...values).toFixed(digits)}-${Math.max(...values).toFixed(digits)})`;
  return [...groups].map(([key, group]) => {
    const of = (name: "ours" | "mmap" | "noMmap") => group.map((turn) => turn[name]);
    const best = median(of("mmap")) >= median(of("noMmap")) ? "mmap" : "noMmap";
    const ratio = median(of("ours")) / median(of(best));
    const ratios = group.map((turn) => turn.ours / turn[best]);
    return (
      `${key.padEnd(44)} ours ${range(of("ours"), 1)}, ${group[0]?.rival} ${range(of(best), 1)} (${best}), ` +
      `ratio ${ratio.toFixed(2)} (${Math.min(...ratios).toFixed(2)}-${Math.max(...ratios).toFixed(2)}), ` +
      `${group.length} turns`
    );
  });
}
