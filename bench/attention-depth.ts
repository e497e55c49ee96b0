/**
 * Measures what a long past adds to decode, for each type of KV cache, beside what the machine allows: max(KV bytes /
 * memory rate, operations / (0.6 * f32 ceiling)). Ours alone, so 65,536 positions take seconds; with llama.cpp:
 * vs-llama-cpp.
 *
 *   node dist/bench/attention-depth.js MODEL [--depth 16384,65536] [--kv f16,q8_0,q4_0] [-n 12] [-r 3] [--threads N]
 *
 * Medians of the repetitions; the past is one computed page, copied (docs/benchmarks.md). Every depth gets a context of
 * its own. Exit code 1: something adds more than 1.3 times its floor.
 */
import { measureCeilings } from "../src/cli/reports/ceilings.js";
import { median } from "../src/cli/reports/statistics.js";
import { type LoadOptions, load } from "../src/library/model.js";
import { defaultThreads } from "../src/native/threads.js";
import { type AttentionWork, attentionWork } from "./support/attention-work.js";
import { commaList, readArguments } from "./support/program.js";

const { values, path } = readArguments("attention-depth MODEL [--depth 16384] [--kv f16] ...", {
  depth: { type: "string", default: "16384,65536" },
  kv: { type: "string", default: "f16,q8_0,q4_0" },
  decode: { type: "string", short: "n", default: "12" },
  repetitions: { type: "string", short: "r", default: "3" },
  threads: { type: "string" },
});
const decode = Number(values.decode);
const threads = Number(values.threads ?? defaultThreads());
const goal = 1.3;

interface Depth extends AttentionWork {
  /** Milliseconds a token without and with the past. */
  readonly shallow: number;
  readonly deep: number;
}

async function measure(depth: number, kvType: LoadOptions["kvType"]): Promise<Depth> {
  const options = { contextTokens: depth + decode + 2, threads, ...(kvType !== undefined && { kvType }) };
  const model = await load(path, { ...options, profile: "times" });
  try {
    const rounds = Array.from({ length: Number(values.repetitions) + 1 }, (_, round) => round);
    const [shallow, deep]: [number[], number[]] = [[], []];
    for (const round of rounds) {
      const [a, b] = [(await model.measure(0, decode)).decodeMs, (await model.measure(0, decode, { depth })).decodeMs];
      if (round === 0) continue;
      shallow.push(a / decode);
      deep.push(b / decode);
    }
    const work = await attentionWork(model, depth);
    return { shallow: median(shallow), deep: median(deep), ...work };
  } finally {
    await model.close();
  }
}

const ceilings = await measureCeilings(threads);
if (ceilings === undefined) throw new Error("no ceilings: node scripts/build-native.mjs --tests");
const { memoryGBps = Number.NaN, fmaGflops = Number.NaN } = ceilings;
console.log(`${path}, ${threads} threads; memory ${memoryGBps.toFixed(1)} GB/s, f32 ${fmaGflops.toFixed(0)} GFLOP/s`);
for (const kv of commaList(values.kv)) {
  for (const depth of commaList(values.depth).map(Number)) {
    const { shallow, deep, bytes, operations } = await measure(depth, kv as LoadOptions["kvType"]);
    const [memory, arithmetic] = [bytes / 1e6 / memoryGBps, operations / 1e6 / (0.6 * fmaGflops)];
    const [added, floor] = [deep - shallow, Math.max(memory, arithmetic)];
    if (added > goal * floor) process.exitCode = 1;
    console.log(
      `${kv.padEnd(5)} ${String(depth).padStart(6)}: ${shallow.toFixed(1)} -> ${deep.toFixed(1)} ms a token, adds ` +
        `${added.toFixed(1)} (${(bytes / 1e6 / added).toFixed(1)} GB/s, ` +
        `${(operations / 1e6 / added).toFixed(0)} GFLOP/s); ` +
        `floor ${floor.toFixed(1)} (${memory > arithmetic ? "memory" : "arithmetic"}), ${(added / floor).toFixed(2)}`,
    );
  }
}
