/**
 * A program that uses the library and ends in one of many ways; started by lifecycle.test.ts.
 *   lifecycle-child SCENARIO MODEL mapped|streamed
 * `ready` on stdout means that a generation without end is under way.
 */
import { isMainThread, Worker, workerData } from "node:worker_threads";
import { type LoadOptions, load, type Model } from "../../src/index.js";
import { wholeSweeps } from "./sweeps.js";

const [scenario, path, residency] = (isMainThread ? process.argv.slice(2) : workerData) as [string, string, string];

const optionsOf = (where: string): LoadOptions => ({
  // Longer than anything here generates.
  contextTokens: 60_000,
  threads: 2,
  ...(where === "streamed" && { io: "direct", ringBytes: 1 << 20, weightsMemoryBytes: 3 << 20 }),
});
/** How often what has to work again and again is done. */
const times = wholeSweeps ? 20 : 8;
const residencies = ["mapped", "streamed"];
async function open(where = residency): Promise<Model> {
  const model = await load(path, optionsOf(where));
  const { strategy } = model.info.residency;
  if ((strategy === "streamed") !== (where === "streamed")) throw new Error(`the weights are ${strategy}`);
  return model;
}

const endless = { maxTokens: -1, ignoreEos: true, seed: 1 } as const;

/** Leaves a generation running, some tokens along; `ended` gives what it ends with. */
async function generating(model: Model, signal?: AbortSignal): Promise<{ readonly ended: Promise<unknown> }> {
  const generation = model.generate("the cat", { ...endless, ...(signal !== undefined && { signal }) });
  await new Promise<void>((resolve) => {
    void (async () => {
      let pieces = 0;
      for await (const _ of generation) if (++pieces === 5) resolve();
    })().catch(() => {});
  });
  return { ended: generation.result().catch((error: unknown) => error) };
}

async function prefilling(model: Model): Promise<void> {
  await new Promise<void>((resolve) => {
    model
      .generate(new Int32Array(50_000).fill(5), { ...endless, onProgress: () => resolve() })
      .result()
      .catch(() => {});
  });
}

const scenarios: Readonly<Record<string, () => Promise<void>>> = {
  "only imported": async () => {},
  "never closed": async () => {
    await open();
  },
  "closed twice": async () => {
    const model = await open();
    await Promise.all([model.close(), model.close()]);
  },
  "generated, never closed": async () => {
    const model = await open();
    await model.generate("the cat", { maxTokens: 5 }).result();
  },
  "cancelled, never closed": async () => {
    const model = await open();
    const controller = new AbortController();
    const { ended } = await generating(model, controller.signal);
    controller.abort();
    if (((await ended) as { code?: string }).code !== "CANCELLED") process.exitCode = 9;
  },
  "closed while generating": async () => {
    const model = await open();
    const { ended } = await generating(model);
    await model.close();
    if ((await ended) instanceof Error) return;
    process.exitCode = 9;
  },
  "exit while loading": async () => {
    void open();
    setTimeout(() => process.exit(7), Math.random() * 20);
  },
  "exit while generating": async () => {
    await generating(await open());
    process.exit(7);
  },
  "exit while prefilling": async () => {
    await prefilling(await open());
    process.exit(7);
  },
  "uncaught exception while generating": async () => {
    await generating(await open());
    setTimeout(() => {
      throw new Error("thrown on purpose");
    }, 5);
  },
  "unhandled rejection while generating": async () => {
    await generating(await open());
    void Promise.reject(new Error("thrown on purpose"));
  },
  "engines one after the other": async () => {
    for (let i = 0; i < times; i++) {
      const model = await open(residencies[i % 2]);
      await model.generate("the cat", { maxTokens: 2 }).result();
      await model.close();
    }
  },
  "workers terminated while generating": async () => {
    for (let i = 0; i < times; i++) {
      const worker = new Worker(new URL(import.meta.url), {
        workerData: ["endless", path, residencies[i % 2]],
      });
      await new Promise((resolve, reject) => {
        worker.on("message", resolve);
        worker.on("error", reject);
      });
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 10));
      await worker.terminate();
    }
  },
  endless: async () => {
    const model = await open();
    await generating(model);
    if (isMainThread) process.stdout.write("ready\n");
    else (await import("node:worker_threads")).parentPort?.postMessage("ready");
  },
};

await scenarios[scenario]!();
