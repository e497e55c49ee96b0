/**
 * Measures decode behind a past that is larger than the memory of its KV cache, in turn with the same past all in
 * memory, beside the limit: max(KV bytes on the disk / disk rate, time with all of it in memory).
 *
 *   node dist/bench/cold-kv.js MODEL [--depth 16384] [--kv f16] [--share 0.25] [-n 12] [-r 3] [--threads N]
 *
 * Medians; the past is one computed page, copied. Exit code 1: a token takes more than 1.2 times the limit.
 */

import { median } from "../src/cli/reports/statistics.js";
import { formatBytes } from "../src/cli/terminal/output.js";
import { type LoadOptions, load } from "../src/library/model.js";
import { defaultThreads } from "../src/native/threads.js";
import { knownMachine } from "../src/weights/probe.js";
import { attentionWork } from "./support/attention-work.js";
import { commaList, readArguments } from "./support/program.js";

const { values, path } = readArguments("cold-kv MODEL [--depth 16384] [--kv f16] [--share 0.25] ...", {
  depth: { type: "string", default: "16384" },
  kv: { type: "string", default: "f16" },
  share: { type: "string", default: "0.25" },
  decode: { type: "string", short: "n", default: "12" },
  repetitions: { type: "string", short: "r", default: "3" },
  threads: { type: "string" },
});
const decode = Number(values.decode);
const depth = Number(values.depth);
const threads = Number(values.threads ?? defaultThreads());
const goal = 1.2;

const rate = knownMachine({ path }).profile.diskReadBytesPerSecond;
for (const kv of commaList(values.kv)) {
  const options: LoadOptions = {
    contextTokens: depth + decode + 2,
    threads,
    kvType: kv as NonNullable<LoadOptions["kvType"]>,
    profile: "times",
  };
  const whole = await load(path, options);
  const { bytes } = await attentionWork(whole, depth);
  const kvMemoryBytes = Math.ceil((Number(values.share) * bytes) / 2 ** 20) * 2 ** 20;
  const cold = await load(path, { ...options, kvMemoryBytes });
  try {
    const times: Record<"whole" | "cold", number[]> = { whole: [], cold: [] };
    for (let round = 0; round <= Number(values.repetitions); round++) {
      const [a, b] = [await whole.measure(0, decode, { depth }), await cold.measure(0, decode, { depth })];
      if (round === 0) continue;
      times.whole.push(a.decodeMs / decode);
      times.cold.push(b.decodeMs / decode);
    }
    const [inMemory, onDisk] = [median(times.whole), median(times.cold)];
    const read = bytes - kvMemoryBytes;
    const limit = Math.max((1000 * read) / rate, inMemory);
    if (onDisk > goal * limit) process.exitCode = 1;
    console.log(
      `${kv.padEnd(10)} ${depth} positions, ${formatBytes(bytes)} of keys and values, ${formatBytes(kvMemoryBytes)} ` +
        `of memory: ${inMemory.toFixed(1)} ms a token in memory, ${onDisk.toFixed(1)} with the rest on the disk; ` +
        `limit ${limit.toFixed(1)} (${formatBytes(read)} at ${(rate / 1e9).toFixed(1)} GB/s), ` +
        (onDisk / limit).toFixed(2),
    );
  } finally {
    await whole.close();
    await cold.close();
  }
}
