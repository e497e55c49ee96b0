/**
 * How near a plan's estimate of reading a prompt is on a machine that others use, too: beside the processor time that
 * the first and later prompts took, on one thread, so that no thread waits for another one. Weights are in memory.
 *   node dist/bench/prompt-estimates.js MODEL.gguf... [--rows 200,1500] [--repeat 3]
 */
import { loadavg } from "node:os";
import { parseArgs } from "node:util";
import { median } from "../src/cli/reports/statistics.js";
import { load } from "../src/index.js";
import { PassCostMeter } from "../src/server/ui/pass-costs.js";
import { readSeconds } from "../src/server/ui/price.js";
import { probeMachine } from "../src/weights/probe.js";

const { values, positionals: models } = parseArgs({
  allowPositionals: true,
  options: { rows: { type: "string", default: "200,1500" }, repeat: { type: "string", default: "3" } },
});
if (models.length === 0) {
  console.error("usage: prompt-estimates MODEL.gguf... [--rows 200,1500] [--repeat 3]");
  process.exit(2);
}

/** Seconds that are told before, and of processor time that each of so many prompts took. */
async function measure(path: string, rows: number): Promise<{ told: number; took: number[] }> {
  const model = await load(path, { contextTokens: 4096, threads: 1, drafts: "off" });
  try {
    const told = readSeconds(new PassCostMeter().costs(model.info)!, rows);
    const took: number[] = [];
    for (let turn = 0; turn < Number(values.repeat); turn++) {
      // No prompt begins as another one did.
      const ids = Array.from({ length: rows }, (_, i) => 100 + ((i * 7919 + turn * 104_729) % 5000));
      const before = process.cpuUsage();
      await model.generate(ids, { maxTokens: 1, temperature: 0 }).result();
      const { user, system } = process.cpuUsage(before);
      took.push((user + system) / 1e6);
    }
    return { told, took };
  } finally {
    await model.close();
  }
}

const percent = (told: number, took: number): string => `${Math.round(100 * (told / took - 1))} %`;

for (const path of models) {
  probeMachine({ path, threads: 1, disk: false });
  for (const rows of values.rows.split(",").map(Number)) {
    const { told, took } = await measure(path, rows);
    const [first, ...later] = took as [number, ...number[]];
    console.log(
      `${path}, ${rows} tokens: ${told.toFixed(3)} s told; first ${first.toFixed(3)} s (${percent(told, first)}), ` +
        `later ${median(later).toFixed(3)} s (${percent(told, median(later))}); load ${loadavg()[0]!.toFixed(1)}`,
    );
  }
}
