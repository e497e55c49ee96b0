/**
 * Measures decode behind a past that is larger than the memory of its KV cache, in turn with the same past all in
 * memory, beside the limit: max(KV bytes on the disk / disk rate, time with all of it in memory). The disk's rate is
 * measured in turn with them, in reads of a layer of a page, which lie apart as they do in the file of pages.
 *
 *   node dist/bench/cold-kv.js MODEL [--depth 16384] [--kv f16] [--share 0.25] [-n 12] [-r 3] [--threads N]
 *
 * Medians; the past is one computed page, copied. Exit code 1: a token takes more than 1.2 times the limit.
 */

import { statSync } from "node:fs";
import { median } from "../src/cli/reports/statistics.js";
import { formatBytes } from "../src/cli/terminal/output.js";
import { openCheckpoint } from "../src/containers/index.js";
import { type LoadOptions, load } from "../src/library/model.js";
import { requireAddon } from "../src/native/addon.js";
import { ioEngines, readRates } from "../src/native/boundary.js";
import { idsOf, NamedNumbers } from "../src/native/named-numbers.js";
import { defaultThreads } from "../src/native/threads.js";
import { pagePositions } from "../src/ops/ops.js";
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

const { metadata } = await openCheckpoint(path);
const layers = metadata.number(`${metadata.string("general.architecture")}.block_count`)!;
const fileBytes = statSync(path).size;
/** Bytes of the model's file that are read to know the disk's rate. */
const rateBytes = 2 ** 28;
/** Reads in flight, as the cache's own reader has them (native/io/reader.h). */
const readDepth = 8;

/** Bytes a second of parts of this size, every one as far behind the last as a page with all of its layers. */
function diskRate(partBytes: number): number {
  const extents: number[] = [];
  const wanted = Math.min(rateBytes, fileBytes / 2);
  const stride = partBytes * layers;
  for (let first = 0; first < stride && extents.length * partBytes < 2 * wanted; first += partBytes)
    for (let at = first; at + partBytes <= fileBytes; at += stride) extents.push(at, partBytes);
  const out = new NamedNumbers(readRates);
  const requestBytes = Math.min(partBytes, 2 ** 22);
  const engine = idsOf(ioEngines).automatic;
  requireAddon().readRate(path, true, engine, readDepth, requestBytes, Float64Array.from(extents), out.values);
  return out.get("bytes") / out.get("seconds");
}

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
    const times: Record<"whole" | "cold" | "rate", number[]> = { whole: [], cold: [], rate: [] };
    const partBytes = Math.round((bytes * pagePositions) / depth / layers);
    for (let round = 0; round <= Number(values.repetitions); round++) {
      const [a, b] = [await whole.measure(0, decode, { depth }), await cold.measure(0, decode, { depth })];
      if (round === 0) continue;
      times.whole.push(a.decodeMs / decode);
      times.cold.push(b.decodeMs / decode);
      times.rate.push(diskRate(partBytes));
    }
    const [inMemory, onDisk] = [median(times.whole), median(times.cold)];
    const rate = median(times.rate);
    const read = bytes - kvMemoryBytes;
    const limit = Math.max((1000 * read) / rate, inMemory);
    if (onDisk > goal * limit) process.exitCode = 1;
    console.log(
      `${kv.padEnd(10)} ${depth} positions, ${formatBytes(bytes)} of keys and values, ${formatBytes(kvMemoryBytes)} ` +
        `of memory: ${inMemory.toFixed(1)} ms a token in memory, ${onDisk.toFixed(1)} with the rest on the disk; ` +
        `limit ${limit.toFixed(1)} (${formatBytes(read)} at ${(rate / 1e9).toFixed(2)} GB/s in parts of ` +
        `${formatBytes(partBytes)}), ` +
        (onDisk / limit).toFixed(2),
    );
  } finally {
    await whole.close();
    await cold.close();
  }
}
