/**
 * Does the server survive, keep its memory and stay quick under mixed requests?
 *   node dist/bench/serve-soak.js [REQUESTS] [real|played] [CONCURRENCY] [WARMUP]     default 10000 real 16 8000
 * `played` has no engine at all. The engine is a process of its own, so the memory is what the server itself takes:
 * RssAnon of its process, seen four times a second while requests run, and at rest 16 s after them. Exit code 1 when a
 * valid request was not answered, the memory at rest is not back within 5 %, it was ever 80 MB or more, or /health had
 * a p99 of 20 ms or more.
 */
import { chatModel, testFolder } from "../test/server/chat-model.js";
import { soak } from "../test/server/soak.js";

const [requests = "10000", engine = "real", concurrency = "16", warmup = "8000"] = process.argv.slice(2);
const modelPath = await chatModel();
const report = await soak({
  modelPath,
  dataFolder: testFolder(),
  requests: Number(requests),
  warmup: Number(warmup),
  concurrency: Number(concurrency),
  engine: engine as "real" | "played",
  seed: 1,
  restMs: 16_000,
});
const { outcomes, faults, healthMs, before, after, maxAnonymous, seconds } = report;
const mb = (bytes: number): string => (bytes / 1e6).toFixed(1);
for (const [kind, counts] of Object.entries(outcomes)) console.log(`${kind.padEnd(14)} ${JSON.stringify(counts)}`);
console.log(`${requests} requests in ${seconds.toFixed(0)} s, ${concurrency} at a time, engine ${engine}`);
console.log(
  `/health meanwhile: p50 ${healthMs.p50.toFixed(2)} ms, p99 ${healthMs.p99.toFixed(2)} ms, longest ` +
    `${healthMs.max.toFixed(1)} ms of ${healthMs.count}`,
);
console.log(`the server's own loop was held up for ${report.loopMs.toFixed(1)} ms (p99)`);
const { pausesMs } = report;
const long = pausesMs.filter((ms) => ms > 15).length;
const heldMs = pausesMs.reduce((sum, ms) => sum + ms, 0);
console.log(
  `collections of garbage held it ${pausesMs.length} times, for ${heldMs.toFixed(0)} ms in all, ${long} times for ` +
    `more than 15 ms, at most ${(pausesMs.at(-1) ?? 0).toFixed(1)}`,
);
const grown = after.anonymous / before.anonymous - 1;
console.log(
  `memory of the server's process after warm-up ${mb(before.anonymous)} MB (heap ${mb(before.heapUsed)}), at the end ` +
    `${mb(after.anonymous)} MB (heap ${mb(after.heapUsed)}): ${(100 * grown).toFixed(1)} %; ` +
    `at most ${mb(maxAnonymous)} MB meanwhile; with the pages of the node program ${mb(after.rss)} MB`,
);
for (const fault of faults.slice(0, 20)) console.log(`FAULT ${fault}`);
if (report.engineAfter > 0) {
  const engineGrown = report.engineAfter / report.engineBefore - 1;
  console.log(
    `the engine's process, weights and KV included: ${mb(report.engineBefore)} MB, at the end ` +
      `${mb(report.engineAfter)} MB: ${(100 * engineGrown).toFixed(1)} %`,
  );
}
const kept = grown < 0.05 && Math.max(maxAnonymous, after.anonymous) < 80e6;
process.exitCode = faults.length === 0 && kept && healthMs.p99 < 20 ? 0 : 1;
