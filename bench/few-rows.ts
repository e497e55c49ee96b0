/**
 * Measures a pass of few token rows (drafts, several conversations), beside what the machine allows: max(bytes of one
 * row / memory rate, operations / the engine's own rate in a prompt of 512). Ours alone; with llama.cpp: vs-llama-cpp.
 *
 *   node dist/bench/few-rows.js MODEL [--rows 1,2,4,8,16] [-n 6] [-r 3] [--threads N]
 *
 * The row counts take turns; medians of the repetitions. How fast memory is differs from process to process, so the
 * pass of one row says what these weights were read at. Exit code 1: something costs more than 1.3 times its floor.
 */
import { measureCeilings } from "../src/cli/reports/ceilings.js";
import { median } from "../src/cli/reports/statistics.js";
import { load } from "../src/library/model.js";
import { defaultThreads } from "../src/native/threads.js";
import { commaList, readArguments } from "./support/program.js";

const { values, path } = readArguments("few-rows MODEL [--rows 1,2,4,8,16] ...", {
  rows: { type: "string", default: "1,2,4,8,16" },
  decode: { type: "string", short: "n", default: "6" },
  repetitions: { type: "string", short: "r", default: "3" },
  threads: { type: "string" },
});
const counts = commaList(values.rows).map(Number);
const decode = Number(values.decode);
const threads = Number(values.threads ?? defaultThreads());
const prompt = 512;
const goal = 1.3;

const ceilings = await measureCeilings(threads);
if (ceilings?.memoryGBps === undefined) throw new Error("no ceilings: node scripts/build-native.mjs --tests");

const sequences = Math.max(...counts);
const model = await load(path, { contextTokens: prompt + 1, sequences, threads, chunkRows: prompt, profile: "times" });
try {
  /** Bytes and operations of the last pass that `run` makes, all operations together. */
  const work = async (run: () => Promise<unknown>): Promise<{ bytes: number; operations: number }> => {
    await model.profile();
    await run();
    const entries = (await model.profile()).phases.at(-1)?.entries ?? [];
    const passes = entries.find(({ name }) => name === "embed")?.calls ?? 1;
    const total = (key: "bytes" | "operations"): number => entries.reduce((sum, entry) => sum + entry[key], 0) / passes;
    return { bytes: total("bytes"), operations: total("operations") };
  };
  const prefillWork = await work(() => model.measure(prompt, 0));
  const prefillMs: number[] = [];
  const passMs = new Map(counts.map((rows) => [rows, [] as number[]]));
  for (let round = 0; round <= Number(values.repetitions); round++) {
    const prefill = (await model.measure(prompt, 0)).prefillMs;
    if (round > 0) prefillMs.push(prefill);
    for (const [rows, times] of passMs) {
      const ms = (await model.measure(0, decode, { rows })).decodeMs / decode;
      if (round > 0) times.push(ms);
    }
  }
  const operationsPerMs = prefillWork.operations / median(prefillMs);
  const { bytes } = await work(() => model.measure(0, 1, { rows: 1 }));
  const memoryMs = bytes / 1e6 / ceilings.memoryGBps;
  const prefillRate = `${((1000 * prompt) / median(prefillMs)).toFixed(1)} tokens/s`;
  console.log(
    `${path}, ${threads} threads; memory ${ceilings.memoryGBps.toFixed(1)} GB/s, a prompt of ${prompt} ${prefillRate}`,
  );
  for (const [rows, times] of passMs) {
    const { operations } = await work(() => model.measure(0, 1, { rows }));
    const [ms, arithmeticMs] = [median(times), operations / operationsPerMs];
    const floor = Math.max(memoryMs, arithmeticMs);
    if (ms > goal * floor) process.exitCode = 1;
    console.log(
      `${String(rows).padStart(4)} rows: ${ms.toFixed(1)} ms ` +
        `(${times.map((t) => t.toFixed(1)).join(", ")}), ${(bytes / 1e6 / ms).toFixed(1)} GB/s; ` +
        `floor ${floor.toFixed(1)} (${memoryMs > arithmeticMs ? "memory" : "arithmetic"}), ${(ms / floor).toFixed(2)}`,
    );
  }
} finally {
  await model.close();
}
