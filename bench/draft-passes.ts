/**
 * Measures passes of several rows on a model that streams, whatever its weights are: its own answer is predicted.
 *
 *   node dist/bench/draft-passes.js MODEL --memory 10GiB [--rows 1,2,4,8,16] [-n 33] [--edits 3] [--json FILE]
 *
 * First the answer without guesses. Then passes of so many rows, all guesses right: seconds beside max(bytes read / D,
 * C), D the disk's rate on the extents the plan streams, before and after, C the pass's time without waiting. Then a
 * file that is edited and returned whole: the prediction is the answer with `--edits` tokens changed, evenly spread,
 * and as many guesses as the engine thinks pay. Tokens have to be the same each time. Exit code 1: a pass above 1.1
 * times its limit, less than five times the speed for the edit, or other tokens.
 */
import { parseBytes } from "../src/cli/options/options.js";
import { median } from "../src/cli/reports/statistics.js";
import { openCheckpoint } from "../src/containers/index.js";
import type { GenerateOptions } from "../src/library/generation.js";
import { load } from "../src/library/model.js";
import type { LedgerEntry } from "../src/link/protocol.js";
import { describeModel } from "../src/models/index.js";
import { Planner } from "../src/weights/plan.js";
import { knownMachine } from "../src/weights/probe.js";
import { diskRate } from "./support/disk-rate.js";
import { commaList, readArguments, saveJson } from "./support/program.js";

const usage = "draft-passes MODEL --memory 10GiB [--rows 1,2,4,8,16] [-n 33] [--edits 3] [--json FILE]";
const { values, path } = readArguments(usage, {
  memory: { type: "string" },
  rows: { type: "string", default: "1,2,4,8,16" },
  tokens: { type: "string", short: "n", default: "33" },
  edits: { type: "string", default: "3" },
  json: { type: "string" },
});
if (values.memory === undefined) throw new Error(`--memory is missing: ${usage}`);
const rowCounts = commaList(values.rows).map(Number);
const maxTokens = Number(values.tokens);
const contextTokens = 512;
const memoryBytes = parseBytes(values.memory, "--memory");
const greatestRatio = 1.1;
const leastGain = 5;

const description = describeModel(await openCheckpoint(path));
const planner = new Planner(description, knownMachine({ path }).profile, { contextTokens });
const plan = planner.tryPlan(memoryBytes);
const model = await load(path, { contextTokens, memoryBytes, io: "direct" });
const prompt = Array.from({ length: 8 }, (_, i) => 1000 + 37 * i);
let others = false;

async function answer(
  options: GenerateOptions,
): Promise<{ tokens: number[]; ledger: readonly LedgerEntry[]; seconds: number }> {
  const generation = model.generate(prompt, { maxTokens, temperature: 0, ignoreEos: true, ...options });
  const { tokens, ledger, timings } = await generation.result();
  return { tokens: [...tokens], ledger, seconds: timings.decodeMs / 1000 };
}

const secondsOf = ({ stallMs, computeMs }: LedgerEntry): number => (stallMs + computeMs) / 1000;

try {
  diskRate(plan, planner.model); // what a cache below a virtual machine had is not told
  const before = diskRate(plan, planner.model);
  const plain = await answer({ drafts: "off" });
  const passes = new Map<number, readonly LedgerEntry[]>();
  for (const rows of rowCounts) {
    const run = rows === 1 ? plain : await answer({ drafts: rows - 1, prediction: plain.tokens });
    others ||= run.tokens.join() !== plain.tokens.join();
    passes.set(
      rows,
      run.ledger.filter((pass) => pass.rows === rows && pass.drafts === rows - 1),
    );
  }
  const edited = [...plain.tokens];
  const edits = Number(values.edits);
  for (let i = 0; i < edits; i++) {
    const at = Math.floor(((i + 0.5) * edited.length) / edits);
    edited[at] = (edited[at]! + 1) % model.info.vocab;
  }
  const edit = await answer({ drafts: "auto", prediction: edited });
  others ||= edit.tokens.join() !== plain.tokens.join();
  const after = diskRate(plan, planner.model);
  const D = before === undefined || after === undefined ? undefined : (before + after) / 2;
  const disk = D === undefined ? "nothing is streamed" : `disk ${(D / 1e9).toFixed(2)} GB/s`;
  console.log(`${path}, ${values.memory}, ${prompt.length} tokens and ${maxTokens}; ${disk}`);
  const lines = [...passes].map(([rows, all]) => {
    const seconds = median(all.map(secondsOf));
    const compute = median(all.map(({ computeMs }) => computeMs / 1000));
    const bytes = median(all.map(({ diskBytes }) => diskBytes));
    const limit = Math.max(D === undefined ? 0 : bytes / D, compute);
    return { rows, passes: all.length, seconds, compute, bytes, limit, ratio: seconds / limit };
  });
  for (const { rows, passes: count, seconds, compute, bytes, limit, ratio } of lines)
    console.log(
      `${String(rows).padStart(4)} rows: ${seconds.toFixed(3)} s (${count} passes), computing ${compute.toFixed(3)}, ` +
        `${(bytes / 1e9).toFixed(2)} GB read, limit ${limit.toFixed(3)}, ${ratio.toFixed(2)}`,
    );
  const gain = plain.seconds / edit.seconds;
  const aToken = ({ seconds }: typeof plain): string => `${(seconds / maxTokens).toFixed(3)} s a token`;
  console.log(
    `a file returned with ${edits} edits: ${aToken(edit)} in ${edit.ledger.length} passes, ` +
      `without guesses ${aToken(plain)}: ${gain.toFixed(2)} times the speed; tokens ${others ? "DIFFER" : "the same"}`,
  );
  if (others || gain < leastGain || lines.some(({ ratio }) => !(ratio <= greatestRatio))) process.exitCode = 1;
  saveJson(values.json, { path, memoryBytes, diskBytesPerSecond: D, lines, plain, edit, gain });
} finally {
  await model.close();
}
