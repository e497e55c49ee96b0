/**
 * Measures what earlier runs are worth to the first tokens of the next: experts in slots, loaded with nothing known and
 * with what runs before have asked for, in turn. Each run answers a text of its own.
 *
 *   node dist/bench/remembered-experts.js MODEL --memory 2GiB [-n 48] [-r 3] [--teach 2] [--pause 0]
 *
 * --teach: runs before, of other texts. --pause: seconds between load and the first token, as a server has them.
 * Medians of milliseconds a token and of the share of experts found in slots, for tokens 1 to 8, 9 to 24 and the rest.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseBytes } from "../src/cli/options/options.js";
import { median } from "../src/cli/reports/statistics.js";
import { readArguments } from "./support/program.js";

const { values, path } = readArguments("remembered-experts MODEL --memory 2GiB [-n 48] [-r 3]", {
  memory: { type: "string" },
  tokens: { type: "string", short: "n", default: "48" },
  repetitions: { type: "string", short: "r", default: "3" },
  teach: { type: "string", default: "2" },
  pause: { type: "string", default: "0" },
});
const tokens = Number(values.tokens);
const memoryBytes = values.memory === undefined ? undefined : parseBytes(values.memory, "--memory");
const texts = ["Once there was", "The cat sat on", "In the year of", "A letter from", "He said that", "Water flows to"];
const bounds = [0, 8, 24, tokens] as const;

const folders = { without: "", with: mkdtempSync(join(tmpdir(), "hundredweight-uses-")) };
// The library starts a thread when it is imported, which keeps the environment of that moment.
process.env.XDG_CACHE_HOME = folders.with;
const { load } = await import("../src/library/model.js");

interface Part {
  readonly ms: number;
  readonly hits: number;
}

/** Milliseconds a token and the share of hits, of the first tokens, of those behind them, and of the rest. */
async function run(folder: string, text: string): Promise<Part[]> {
  process.env.XDG_CACHE_HOME = folder;
  const model = await load(path, { contextTokens: 512, ...(memoryBytes !== undefined && { memoryBytes }) });
  try {
    await sleep(1000 * Number(values.pause));
    const how = { maxTokens: tokens, ignoreEos: true, temperature: 1, seed: 1 };
    const { ledger } = await model.generate(text, how).result();
    const passes = ledger.slice(-tokens);
    return bounds.slice(1).map((end, i) => {
      const part = passes.slice(bounds[i], end);
      const sum = (of: (pass: (typeof part)[number]) => number) => part.reduce((total, pass) => total + of(pass), 0);
      const hits = sum(({ expertHits }) => expertHits);
      return {
        ms: sum((pass) => pass.stallMs + pass.computeMs) / part.length,
        hits: hits / (hits + sum((pass) => pass.expertMisses)),
      };
    });
  } finally {
    await model.close();
  }
}

const found: Record<keyof typeof folders, Part[][]> = { without: [], with: [] };
try {
  for (let i = 0; i < Number(values.teach); i++) await run(folders.with, texts[i % texts.length]!);
  for (let round = 0; round < Number(values.repetitions); round++)
    for (const which of ["without", "with"] as const) {
      const folder = which === "with" ? folders.with : mkdtempSync(join(tmpdir(), "hundredweight-no-uses-"));
      found[which].push(await run(folder, texts[(Number(values.teach) + round) % texts.length]!));
      if (which === "without") rmSync(folder, { recursive: true });
    }
} finally {
  rmSync(folders.with, { recursive: true, force: true });
}
for (const which of ["without", "with"] as const) {
  const parts = bounds.slice(1).map((end, i) => {
    const [ms, hits] = (["ms", "hits"] as const).map((key) => median(found[which].map((parts) => parts[i]![key])));
    return `${bounds[i]! + 1} to ${end}: ${ms!.toFixed(0)} ms, ${(100 * hits!).toFixed(0)} %`;
  });
  console.log(`${which.padEnd(7)} what was remembered: tokens ${parts.join("; ")}`);
}
