/**
 * Prefill and decode beside llama.cpp on the same file, alternately in one run.
 *
 *   node dist/bench/vs-llama-cpp.js MODEL [-p 512] [-n 64] [-r 5] [--threads 2] [--json]
 *
 * Protocol: both engines stay loaded; each repetition measures ours, llama.cpp with mmap, ours ... in turn, greedy, end of
 * text ignored, empty cache; one round of warm-up; medians and spread. llama.cpp is npm node-llama-cpp's prebuilt CPU
 * binary (scripts/fetch-peer.mjs) with flash attention; its decode figure includes that binding's per-token overhead.
 */
import { cpus } from "node:os";
import { parseArgs } from "node:util";
import { load } from "../src/model.js";
import { openPeer } from "../test/support/peer.js";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    prompt: { type: "string", short: "p", default: "512" },
    decode: { type: "string", short: "n", default: "64" },
    repetitions: { type: "string", short: "r", default: "5" },
    threads: { type: "string", default: "2" },
    json: { type: "boolean", default: false },
  },
});
const path = positionals[0];
if (path === undefined) throw new Error("usage: vs-llama-cpp MODEL [-p 512] [-n 64] [-r 5] [--threads 2] [--json]");
const [prompt, decode, repetitions, threads] = [values.prompt, values.decode, values.repetitions, values.threads].map(
  Number,
) as [number, number, number, number];

const llama = openPeer();
if (llama === undefined) throw new Error("llama.cpp is not installed: node scripts/fetch-peer.mjs");
const contextTokens = Math.max(prompt, decode) + 64;
const { system } = await llama.load({ path, threads, contextTokens, batch: 512, flashAttention: true });
const model = await load(path, { contextTokens, threads });
const ids = Array.from({ length: prompt }, (_, i) => 100 + ((i * 7919) % 200));

const runs = {
  prefill: { ours: [] as number[], llama: [] as number[] },
  decode: { ours: [] as number[], llama: [] as number[] },
};
for (let run = 0; run <= repetitions; run++) {
  const mine = await model.measure(prompt, 0);
  const theirs = await llama.ask<{ ms: number }>("prefill", { ids });
  const mineDecode = await model.measure(0, decode);
  await llama.ask("prefill", { ids: ids.slice(0, 1) });
  const theirsDecode = await llama.ask<{ ms: number; tokens: number }>("decode", { count: decode });
  if (run === 0) continue;
  runs.prefill.ours.push((1000 * prompt) / mine.prefillMs);
  runs.prefill.llama.push((1000 * prompt) / theirs.ms);
  runs.decode.ours.push((1000 * decode) / mineDecode.decodeMs);
  runs.decode.llama.push((1000 * theirsDecode.tokens) / theirsDecode.ms);
}
const { info } = model;
await model.close();
llama.close();

const median = (list: readonly number[]): number => [...list].sort((a, b) => a - b)[list.length >> 1] as number;
const series = (name: "prefill" | "decode", tokens: number) => {
  const { ours, llama: theirs } = runs[name];
  const ratios = ours.map((value, i) => value / (theirs[i] as number));
  return {
    test: name,
    tokens,
    ours: median(ours),
    llamaCpp: median(theirs),
    ratio: median(ratios),
    ratios,
    runs: runs[name],
  };
};
const results = [series("prefill", prompt), series("decode", decode)];
if (values.json) {
  console.log(
    JSON.stringify({ path, ops: info.ops, threads, cpu: cpus()[0]?.model, llamaCpp: system, results }, null, 2),
  );
} else {
  console.log(`${path}  ${cpus()[0]?.model}, ${threads} threads\nours ${info.ops}; llama.cpp ${system}`);
  for (const r of results) {
    const spread = `${Math.min(...r.ratios).toFixed(2)}-${Math.max(...r.ratios).toFixed(2)}`;
    console.log(
      `${r.test.padEnd(8)} ${r.tokens}: ours ${r.ours.toFixed(1)} tok/s, llama.cpp ${r.llamaCpp.toFixed(1)} tok/s, ratio ${r.ratio.toFixed(2)} (${spread})`,
    );
  }
}
