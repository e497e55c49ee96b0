/** The server of a soak as a process of its own: says where it listens, and what memory it holds when asked. */
import { constants, PerformanceObserver } from "node:perf_hooks";
import { holdYoungGeneration } from "../../src/process/own-memory.js";
import type { FakeJob } from "./fake-engine.js";
import type { MemoryUse } from "./soak-memory.js";

// As the command line does: before the server is loaded.
holdYoungGeneration();
const { startServer } = await import("../../src/server/index.js");
const { FakeEngine } = await import("./fake-engine.js");
const { anonymousBytes } = await import("./soak-memory.js");

const [modelPath, dataFolder, engineKind] = process.argv.slice(2) as [string, string, "real" | "played"];

/** As many tokens as are wanted, one at a time. */
function play(job: FakeJob): void {
  let left = job.request.maxTokens;
  const step = (): void => {
    if (job.cancelled) return;
    if (left-- <= 0) job.finish("length");
    else {
      if (!job.paused) job.token("word ");
      setImmediate(step);
    }
  };
  step();
}

/** Milliseconds of the collections that V8 began by itself, since they were last asked for. */
let pauses: number[] = [];
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) {
    const { flags } = (entry as typeof entry & { readonly detail: { readonly flags: number } }).detail;
    if (flags !== constants.NODE_PERFORMANCE_GC_FLAGS_FORCED) pauses.push(entry.duration);
  }
}).observe({ entryTypes: ["gc"] });

function memory(): MemoryUse {
  const { rss, heapUsed } = process.memoryUsage();
  return { rss, heapUsed, anonymous: anonymousBytes(process.pid) ?? rss };
}

const server = await startServer({
  ownsProcess: true,
  modelPath,
  config: { port: 0, dataFolder, maxBodyBytes: 2 ** 20, maxAnswers: 48 },
  engine: { sequences: 4 },
  log: (line) => process.stderr.write(`${line}\n`),
  ...(engineKind === "played" && { openEngine: async () => new FakeEngine(play, { contextTokens: 1024 }) }),
});
await server.loaded;
// Whoever started this is gone and asks for nothing any more. Asked to stop, it has to end by itself.
const abandoned = (): void => void server.stop().then(() => process.exit());
process.once("disconnect", abandoned);
process.on("message", (message) => {
  if (message === "memory" || message === "collected memory") {
    if (message === "collected memory") for (let i = 0; i < 2; i++) (globalThis as { gc?: () => void }).gc?.();
    process.send?.({ memory: memory(), open: server.context.gate.count, pauses });
    pauses = [];
  } else {
    process.off("disconnect", abandoned);
    void server.stop().then(() => process.disconnect());
  }
});
process.send?.({ url: server.url });
