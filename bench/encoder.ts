/**
 * An encoder beside llama-bench: texts of a given length, ours many to a pass, llama-bench's one to a pass, which is
 * how it measures them.
 *
 *   node dist/bench/encoder.js MODEL [--texts 64] [--tokens 128] [-r 3] [--threads N] [--sequences 8]
 *     [--llama-bench PROGRAM]
 *
 * In turn, with a warm-up of each; medians and spread of tokens a second. Exit code 1: a ratio below 1.5.
 */
import { median } from "../src/cli/reports/statistics.js";
import { load } from "../src/library/model.js";
import { defaultThreads } from "../src/native/threads.js";
import { findLlamaBench, llamaBench } from "./support/llama-bench.js";
import { readArguments } from "./support/program.js";

const { values, path } = readArguments("encoder MODEL [--texts 64] [--tokens 128] [-r 3]", {
  texts: { type: "string", default: "64" },
  tokens: { type: "string", default: "128" },
  repetitions: { type: "string", short: "r", default: "3" },
  threads: { type: "string" },
  sequences: { type: "string", default: "8" },
  "llama-bench": { type: "string" },
});
const goal = 1.5;
const [texts, tokens] = [Number(values.texts), Number(values.tokens)];
const threads = Number(values.threads ?? defaultThreads());
const program = findLlamaBench(values["llama-bench"]);
if (program === undefined) throw new Error("llama-bench is not built: node scripts/build-llama-bench.mjs");

const sequences = Number(values.sequences);
const model = await load(path, { contextTokens: tokens, sequences, chunkRows: sequences * tokens, threads });
const ids = Array.from({ length: texts }, (_, text) =>
  Int32Array.from({ length: tokens }, (_, i) => 1000 + ((text * 7919 + i * 104729) % 20000)),
);
const ours: number[] = [];
const theirs: number[] = [];
for (let round = 0; round <= Number(values.repetitions); round++) {
  const began = performance.now();
  await model.embed(ids);
  const own = (1000 * texts * tokens) / (performance.now() - began);
  const request = { path, threads, batch: tokens, prompt: tokens, decode: 0, depth: 0 };
  const mapped = await llamaBench(program, { ...request, mmap: true, embeddings: true, repetitions: texts });
  if (round === 0) continue;
  ours.push(own);
  theirs.push((1000 * mapped.tokens) / mapped.ms);
}
await model.close();
const range = (all: readonly number[]): string =>
  `${median(all).toFixed(0)} (${Math.min(...all).toFixed(0)}-${Math.max(...all).toFixed(0)})`;
const ratio = median(ours) / median(theirs);
console.log(
  `${path}, ${texts} texts of ${tokens} tokens, ${threads} threads: ours ${range(ours)} tokens/s, ` +
    `llama-bench ${range(theirs)}, ratio ${ratio.toFixed(2)}`,
);
if (ratio < goal) process.exitCode = 1;
