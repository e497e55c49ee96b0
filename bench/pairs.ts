/**
 * Whether a change costs speed: two builds of this package measured in alternating pairs in one process, each with the
 * model in an engine of its own, so that both meet the same minutes of the machine.
 *
 *   node dist/bench/pairs.js MODEL --old FOLDER [--new FOLDER] [--pairs 20] [-p 512] [-n 48] [--threads N]
 *     [--least 0.98]
 *
 * FOLDER holds `dist` and `build/native` (default: this one). Prints each pair, the median of new / old in tokens a
 * second and its 95 % interval. Exit code 1: the interval's lower end is below --least.
 */
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import type { Model } from "../src/library/model.js";
import { packageRoot } from "../src/package-root.js";
import { ratioInterval } from "./support/pairs.js";
import { readArguments } from "./support/program.js";

const { values, path } = readArguments("pairs MODEL --old FOLDER [--new FOLDER] [--pairs 20] ...", {
  old: { type: "string" },
  new: { type: "string", default: packageRoot() },
  pairs: { type: "string", default: "20" },
  prompt: { type: "string", short: "p", default: "512" },
  decode: { type: "string", short: "n", default: "48" },
  threads: { type: "string" },
  least: { type: "string", default: "0.98" },
});
if (values.old === undefined) {
  console.error("--old is missing: a folder with another build");
  process.exit(2);
}
const [prompt, decode] = [Number(values.prompt), Number(values.decode)];

async function open(folder: string): Promise<Model> {
  const built = pathToFileURL(join(resolve(folder), "dist/src/index.js")).href;
  const { load } = (await import(built)) as typeof import("../src/index.js");
  const threads = values.threads === undefined ? {} : { threads: Number(values.threads) };
  return load(path, { contextTokens: prompt + decode + 1, chunkRows: prompt, logitRows: 1, ...threads });
}

const sides = { old: await open(values.old), new: await open(values.new) };
try {
  const rate = async (side: keyof typeof sides): Promise<{ prefill: number; decode: number }> => {
    const { prefillMs, decodeMs } = await sides[side].measure(prompt, decode);
    return { prefill: (1000 * prompt) / prefillMs, decode: (1000 * decode) / decodeMs };
  };
  await rate("old");
  await rate("new");
  const ratios = { prefill: [] as number[], decode: [] as number[] };
  for (let pair = 0; pair < Number(values.pairs); pair++) {
    const first = pair % 2 === 0 ? "old" : "new";
    const a = await rate(first);
    const b = await rate(first === "old" ? "new" : "old");
    const [old, now] = first === "old" ? [a, b] : [b, a];
    ratios.prefill.push(now.prefill / old.prefill);
    ratios.decode.push(now.decode / old.decode);
    const shown = (kind: "prefill" | "decode"): string =>
      `${kind} ${old[kind].toFixed(1)} -> ${now[kind].toFixed(1)} (${ratios[kind].at(-1)!.toFixed(3)})`;
    console.log(`${String(pair + 1).padStart(3)}: ${shown("prefill")}, ${shown("decode")}`);
  }
  for (const kind of ["prefill", "decode"] as const) {
    const { median, low, high } = ratioInterval(ratios[kind]);
    console.log(`${kind}: ${median.toFixed(3)} of the old rate, 95 % interval ${low.toFixed(3)} to ${high.toFixed(3)}`);
    if (low < Number(values.least)) process.exitCode = 1;
  }
  for (const [side, model] of Object.entries(sides)) {
    const { activationBytes, kvBytes, allocations } = await model.memory();
    console.log(`${side}: ${activationBytes} activation bytes, ${kvBytes} of KV, ${allocations} allocations`);
  }
} finally {
  await sides.old.close();
  await sides.new.close();
}
