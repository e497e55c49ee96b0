/** Points of a hinge, gathered over many processes, and what they say together. */
import { existsSync, readFileSync } from "node:fs";
import { median } from "../../src/cli/reports/statistics.js";

export interface HingePoint {
  readonly model: string;
  /** As it was asked for: `103%`, `10GiB`. */
  readonly budget: string;
  readonly budgetBytes: number;
  readonly plannedSeconds: number | undefined;
  readonly ringBytes: number;
  readonly secondsPerToken: number;
  /** max(bytes read / D, C) of its own run. */
  readonly limit: number;
  readonly ratio: number;
  readonly diskBytes: number;
  readonly diskBytesPerSecond: number | undefined;
  readonly computeSeconds: number;
  readonly tokens: string;
  readonly cache: string;
  readonly [more: string]: unknown;
}

export interface HingeFile {
  readonly points: readonly HingePoint[];
}

/** Points of an earlier process; none when there is no file. */
export function readPoints(file: string | undefined): HingePoint[] {
  if (file === undefined || !existsSync(file)) return [];
  return [...(JSON.parse(readFileSync(file, "utf8")) as HingeFile).points];
}

const maxRatio = 1.25;
const planWithin = 1.25;

/**
 * A line for each model and budget, medians over its processes; whether every point is at its limit and ids are equal.
 */
export function summarize(points: readonly HingePoint[]): { lines: string[]; met: boolean } {
  const groups = new Map<string, HingePoint[]>();
  for (const point of points) {
    const key = `${point.model} ${point.budget}`;
    groups.set(key, [...(groups.get(key) ?? []), point]);
  }
  let met = true;
  const lines = [...groups].map(([key, group]) => {
    const of = (value: (p: HingePoint) => number) => {
      const all = group.map(value);
      return { median: median(all), least: Math.min(...all), most: Math.max(...all) };
    };
    const seconds = of((p) => p.secondsPerToken);
    const ratio = of((p) => p.ratio);
    const plan = of((p) => (p.plannedSeconds ?? Number.NaN) / p.secondsPerToken);
    const fits = ratio.median <= maxRatio && plan.median <= planWithin && plan.median >= 1 / planWithin;
    met &&= fits;
    const range = ({ median, least, most }: typeof seconds, digits: number) =>
      `${median.toFixed(digits)} (${least.toFixed(digits)}-${most.toFixed(digits)})`;
    return (
      `${key.padEnd(26)} ${range(seconds, 3)} s/token, limit ${of((p) => p.limit).median.toFixed(3)}, ` +
      `of the limit ${range(ratio, 2)}, plan / run ${range(plan, 2)}, ` +
      `${(of((p) => p.diskBytes).median / 1e9).toFixed(2)} GB read, ring ` +
      `${of((p) => p.ringBytes).median / 2 ** 20} MiB, ${group.length} processes${fits ? "" : "  MISSED"}`
    );
  });
  for (const model of new Set(points.map((p) => p.model))) {
    const of = points.filter((p) => p.model === model);
    const length = Math.min(...of.map((p) => p.tokens.split(",").length));
    const beginnings = new Set(of.map((p) => p.tokens.split(",").slice(0, length).join()));
    lines.push(`${model}: token ids ${beginnings.size === 1 ? "the same at every point" : "DIFFER"}`);
    met &&= beginnings.size === 1;
  }
  return { lines, met };
}
