/**
 * The energy that the processor's packages have used, where the system lets it be read: Linux' powercap tree, of
 * Intel's and AMD's counters. Since 2020 it is mostly root's to read.
 * @source "Power Capping Framework", Linux documentation (power/powercap)
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** Microjoules of each package; a counter goes back to 0 behind `range`. */
export type EnergyReading = ReadonlyMap<string, { readonly microjoules: number; readonly range: number }>;

/** @returns undefined where there is none, or it may not be read */
export function readEnergy(root = "/sys/class/powercap"): EnergyReading | undefined {
  const reading = new Map<string, { microjoules: number; range: number }>();
  try {
    for (const zone of readdirSync(root)) {
      // Packages alone: their parts (intel-rapl:0:1) are in them already, a platform (psys) holds them.
      if (!/^[\w-]+:\d+$/.test(zone)) continue;
      const read = (name: string): string => readFileSync(join(root, zone, name), "utf8").trim();
      if (!read("name").startsWith("package")) continue;
      const [microjoules, range] = [Number(read("energy_uj")), Number(read("max_energy_range_uj"))];
      if (Number.isFinite(microjoules) && range > 0) reading.set(zone, { microjoules, range });
    }
  } catch {
    return undefined;
  }
  return reading.size === 0 ? undefined : reading;
}

/** Joules between two readings; a counter may have gone round once. */
export function joulesBetween(before: EnergyReading | undefined, after: EnergyReading | undefined): number | undefined {
  if (before === undefined || after === undefined) return undefined;
  let sum = 0;
  for (const [zone, { microjoules, range }] of after) {
    const began = before.get(zone);
    if (began === undefined) return undefined;
    const used = microjoules - began.microjoules;
    sum += used >= 0 ? used : used + range;
  }
  return sum / 1e6;
}
