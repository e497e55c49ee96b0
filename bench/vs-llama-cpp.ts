/**
 * Prefill, decode and few-row passes beside llama.cpp on the same file, alternately in one run, with what the machine
 * could do at best.
 *
 *   node dist/bench/vs-llama-cpp.js MODEL [--prefill 128,512,2048] [--depth 0,4096,16384] [--rows 1,2,4,8,16]
 *     [--prefill-depth 16384] [-n 32] [-r 3] [--threads N] [--all] [--minutes 3] [--no-ceilings] [--no-unmapped]
 *     [--json FILE] [--llama-bench PROGRAM] [--append FILE]
 *
 * Prefill and decode: a process of llama-bench and one of ours in turn, each with a warm-up of its own. llama-bench is
 * what scripts/build-llama-bench.mjs builds; without it, and for rows, which it does not measure, the library of the
 * npm package node-llama-cpp stands in, whose binding costs it time at every token: such figures are labelled "binding"
 * and are no ratio to quote. --append adds the turns with llama-bench to those of earlier runs and prints medians and
 * spread of all of them.
 *
 * --prefill-depth reads the first of the prompts behind pasts of that length. --no-unmapped leaves llama-bench's second
 * way of loading out, which halves the time its pasts take.
 *
 * Protocol: docs/benchmarks.md. Without lists: prefill 512, depth 0, rows 1 and 4; --all takes the lists above and 5
 * repetitions. `--prefill none` leaves a part out. When the minutes are over (with --all there is no limit unless
 * given), no repetition and no part begins any more; what was left out is said.
 */
import { statSync } from "node:fs";
import { cpus, loadavg } from "node:os";
import { basename } from "node:path";
import { type Ceilings, measureCeilings } from "../src/cli/reports/ceilings.js";
import { type Rates, summarizeRates } from "../src/cli/reports/statistics.js";
import { load, type Model } from "../src/library/model.js";
import { defaultThreads } from "../src/native/threads.js";
import { isCached } from "../src/weights/page-cache.js";
import { openPeer, type Peer } from "../test/support/peer.js";
import { type AttentionWork, attentionWork } from "./support/attention-work.js";
import { findLlamaBench, llamaBench, ownBench } from "./support/llama-bench.js";
import { readArguments, saveJson } from "./support/program.js";
import { readTurns, summarizeTurns, type Turn } from "./support/turns.js";

const { values, path } = readArguments("vs-llama-cpp MODEL [--all] [--json FILE] ...; see docs/benchmarks.md", {
  prefill: { type: "string" },
  depth: { type: "string" },
  "prefill-depth": { type: "string" },
  rows: { type: "string" },
  decode: { type: "string", short: "n", default: "32" },
  repetitions: { type: "string", short: "r" },
  threads: { type: "string" },
  all: { type: "boolean", default: false },
  minutes: { type: "string" },
  "no-ceilings": { type: "boolean", default: false },
  json: { type: "string" },
  "llama-bench": { type: "string" },
  "no-unmapped": { type: "boolean", default: false },
  append: { type: "string" },
});
const program = findLlamaBench(values["llama-bench"]);
const list = (text: string | undefined, few: number[], all: number[]): number[] =>
  text === "none" ? [] : (text?.split(",").map(Number) ?? (values.all ? all : few));
const prefills = list(values.prefill, [512], [128, 512, 2048]);
const depths = list(values.depth, [0], [0, 4096, 16384]);
const prefillDepths = values["prefill-depth"]?.split(",").map(Number) ?? [];
const rowCounts = list(values.rows, [1, 4], [1, 2, 4, 8, 16]);
const decode = Number(values.decode);
const repetitions = Number(values.repetitions ?? (values.all ? 5 : 3));
const threads = Number(values.threads ?? defaultThreads());
const deadline = performance.now() + 60_000 * Number(values.minutes ?? (values.all ? Number.POSITIVE_INFINITY : 3));
/** Rows of a pass of both engines. */
const batch = 512;

type Engine = "ours" | "mmap" | "noMmap";
type Rival = "llama-bench" | "binding";
interface Result {
  readonly test: "prefill" | "prefill-at" | "decode" | "rows";
  /** Prompt rows, the depth at which the first of them are read or tokens decoded, or sequences. */
  readonly size: number;
  /** How llama.cpp is measured: by its own benchmark, or by its library behind the binding. */
  readonly rival: Rival;
  readonly ours: Rates;
  readonly llamaCpp: { readonly mmap: Rates; readonly noMmap: Rates; readonly best: "mmap" | "noMmap" };
  /** Medians; the spread is that of the ratios repetition by repetition. */
  readonly ratio: number;
  readonly ratioMin: number;
  readonly ratioMax: number;
}

const results: Result[] = [];
const turns = readTurns(values.append);

/** One warm-up and the repetitions, the engines in turn. A run gives the tokens it made and their milliseconds. */
async function compare(
  test: Result["test"],
  size: number,
  run: Readonly<Record<Engine, () => Promise<{ tokens: number; ms: number }>>>,
  rival: Rival = "binding",
): Promise<void> {
  if (performance.now() > deadline) {
    console.error(`${test.padEnd(7)} ${String(size).padStart(5)}: left out, the minutes are over (--minutes)`);
    return;
  }
  const rates: Record<Engine, number[]> = { ours: [], mmap: [], noMmap: [] };
  // Processes warm up themselves: with the file in the page cache their first turn counts.
  const engines = values["no-unmapped"] ? (["ours", "mmap"] as const) : (["ours", "mmap", "noMmap"] as const);
  const first = rival === "llama-bench" && isCached(path, statSync(path).size) ? 1 : 0;
  for (let repetition = first; repetition <= repetitions; repetition++) {
    if (repetition > 1 && performance.now() > deadline) break;
    for (const engine of engines) {
      const { tokens, ms } = await run[engine]();
      if (repetition > 0) rates[engine].push((1000 * tokens) / ms);
    }
    if (values["no-unmapped"]) rates.noMmap = [...rates.mmap];
    if (repetition === 0 || rival === "binding") continue;
    const [ours, mmap, noMmap] = (["ours", "mmap", "noMmap"] as const).map((engine) => rates[engine].at(-1) as number);
    const loadAverage = loadavg()[0] as number;
    turns.push({ model: basename(path, ".gguf"), test, size, rival, ours, mmap, noMmap, loadAverage } as Turn);
    saveJson(values.append, { turns });
  }
  const [ours, mmap, noMmap] = [rates.ours, rates.mmap, rates.noMmap].map(summarizeRates) as [Rates, Rates, Rates];
  const best = mmap.medianTps >= noMmap.medianTps ? "mmap" : "noMmap";
  const ratios = rates.ours.map((rate, i) => rate / (rates[best][i] as number));
  const result: Result = {
    test,
    size,
    rival,
    ours,
    llamaCpp: { mmap, noMmap, best },
    ratio: ours.medianTps / Math.max(mmap.medianTps, noMmap.medianTps),
    ratioMin: Math.min(...ratios),
    ratioMax: Math.max(...ratios),
  };
  results.push(result);
  const theirs = result.llamaCpp[best].medianTps;
  const spread = `${result.ratioMin.toFixed(2)}-${result.ratioMax.toFixed(2)}`;
  console.error(
    `${test.padEnd(7)} ${String(size).padStart(5)}: ours ${ours.medianTps.toFixed(1)} tok/s, ` +
      `llama.cpp ${theirs.toFixed(1)} (${rival}, ${best}), ratio ${result.ratio.toFixed(2)} (${spread})`,
  );
}

interface Engines {
  readonly model: Model;
  readonly peers: Readonly<Record<"mmap" | "noMmap", Peer>>;
}
let llamaSystem = "";
let ownPrefillTps = 0;
let ops = "";

/** All three engines with the same shape, loaded at the same time. */
async function withEngines(contextTokens: number, sequences: number, use: (engines: Engines) => Promise<void>) {
  const open = async (mmap: boolean): Promise<Peer> => {
    const peer = openPeer();
    if (peer === undefined) throw new Error("llama.cpp is not installed: node scripts/fetch-peer.mjs");
    const request = { path: path, threads, contextTokens, sequences, batch, mmap, flashAttention: true };
    llamaSystem = (await peer.load(request)).system;
    return peer;
  };
  const peers = { mmap: await open(true), noMmap: await open(false) };
  const model = await load(path, { contextTokens, sequences, threads, chunkRows: batch });
  ops = model.info.ops;
  try {
    await use({ model, peers });
  } finally {
    await model.close();
    peers.mmap.close();
    peers.noMmap.close();
  }
}

const ids = (count: number): number[] => Array.from({ length: count }, (_, i) => 100 + ((i * 7919) % 200));

/** Prefill and decode, a process each in turn. llama-bench computes its past in each of them. */
async function inTurn(llama: string): Promise<void> {
  const pair = (prompt: number, count: number, depth = 0) => {
    const request = { path, threads, batch, prompt, decode: count, depth };
    const theirs = (mmap: boolean) => async () => {
      const { system, ...timing } = await llamaBench(llama, { ...request, mmap });
      llamaSystem = system;
      return timing;
    };
    return { ours: () => ownBench(request), mmap: theirs(true), noMmap: theirs(false) };
  };
  for (const count of prefills) await compare("prefill", count, pair(count, 0), "llama-bench");
  for (const depth of prefillDepths)
    await compare("prefill-at", depth, pair(prefills[0] ?? batch, 0, depth), "llama-bench");
  for (const depth of depths) await compare("decode", depth, pair(0, decode, depth), "llama-bench");
}

/** The share of prefill and decode that is left to the binding. */
const boundPrefills = program === undefined ? prefills : [];
const boundDepths = program === undefined ? depths : [];

async function oneSequence({ model, peers }: Engines): Promise<void> {
  for (const count of boundPrefills) {
    const theirs = (peer: Peer) => async () => {
      const { ms } = await peer.ask<{ ms: number }>("prefill", { ids: ids(count) });
      return { tokens: count, ms };
    };
    await compare("prefill", count, {
      ours: async () => ({ tokens: count, ms: (await model.measure(count, 0)).prefillMs }),
      mmap: theirs(peers.mmap),
      noMmap: theirs(peers.noMmap),
    });
  }
  for (const depth of boundDepths) {
    // A long past is computed once; each repetition then goes on where the last one ended.
    if (depth > 0) for (const peer of Object.values(peers)) await peer.ask("prefill", { ids: ids(depth) });
    const theirs = (peer: Peer) => async () => {
      if (depth === 0) await peer.ask("prefill", { ids: ids(1) });
      return peer.ask<{ ms: number; tokens: number }>("decode", { count: decode });
    };
    await compare("decode", depth, {
      ours: async () => ({ tokens: decode, ms: (await model.measure(0, decode, { depth })).decodeMs }),
      mmap: theirs(peers.mmap),
      noMmap: theirs(peers.noMmap),
    });
  }
}

async function fewRows({ model, peers }: Engines): Promise<void> {
  const passes = Math.max(4, decode >> 1);
  // The floor of few rows is held against our own prefill rate; without a part for it, one prompt tells.
  if (prefills.length === 0) {
    const count = Math.min(batch, (repetitions + 2) * decode);
    await model.measure(count, 0);
    ownPrefillTps = (1000 * count) / (await model.measure(count, 0)).prefillMs;
  }
  for (const rows of rowCounts) {
    const theirs = (peer: Peer) => async () => {
      const { ms } = await peer.ask<{ ms: number }>("rows", { rows, count: passes });
      return { tokens: rows * passes, ms };
    };
    await compare("rows", rows, {
      ours: async () => ({ tokens: rows * passes, ms: (await model.measure(0, passes, { rows })).decodeMs }),
      mmap: theirs(peers.mmap),
      noMmap: theirs(peers.noMmap),
    });
  }
}

/** The cost of a token in principle: operations of a row, KV bytes and operations of attention at each depth. */
async function shape() {
  const contextTokens = Math.max(64, ...depths.map((depth) => depth + 2));
  const model = await load(path, { contextTokens, threads, chunkRows: batch, profile: "times" });
  ops = model.info.ops;
  try {
    await model.measure(0, 1);
    const one = (await model.profile()).phases.at(-1)?.entries ?? [];
    const total = (name: string): number =>
      one.filter((entry) => entry.name.startsWith(name)).reduce((sum, entry) => sum + entry.operations, 0);
    const attention: ({ depth: number } & AttentionWork)[] = [];
    for (const depth of depths.filter((d) => d > 0)) attention.push({ depth, ...(await attentionWork(model, depth)) });
    const rowOperations = total("matmul") + total("experts");
    // Rows of a prompt go without the head, all but the last.
    const head = total("matmul output") + total("matmul token_embd");
    return {
      rowOperations,
      promptRowOperations: rowOperations - head,
      passWeightBytes: model.info.passWeightBytes,
      attention,
    };
  } finally {
    await model.close();
  }
}

/** Each result beside what the machine's ceilings allow; null where a ceiling is unknown. */
function rooflines(work: Awaited<ReturnType<typeof shape>>, ceilings: Ceilings | undefined) {
  const { memoryGBps, int8Gops, int8SixteenBitGops, fmaGflops } = ceilings ?? {};
  const share = (value: number, ceiling: number | undefined): number | null => (ceiling ? value / ceiling : null);
  const prefillTps = Math.max(
    ownPrefillTps,
    ...results.filter((r) => r.test === "prefill").map((r) => r.ours.medianTps),
  );
  const base = results.find((r) => r.test === "decode" && r.size === 0);
  return results.map((r) => {
    const tps = r.ours.medianTps;
    const name = { test: r.test, size: r.size };
    if (r.test === "prefill-at") return name;
    if (r.test === "prefill") {
      const gops = (tps * work.promptRowOperations) / 1e9;
      return { ...name, gops, ofInt8: share(gops, int8Gops), ofInt8SixteenBit: share(gops, int8SixteenBitGops) };
    }
    const passMs = (1000 * (r.test === "rows" ? r.size : 1)) / tps;
    const weightMs = memoryGBps ? work.passWeightBytes / 1e6 / memoryGBps : undefined;
    if (r.test === "rows") {
      const prefillRate = prefillTps * work.promptRowOperations; // operations a second
      const arithmeticMs = prefillRate > 0 ? (1000 * r.size * work.rowOperations) / prefillRate : undefined;
      const floorMs = weightMs && arithmeticMs ? Math.max(weightMs, arithmeticMs) : undefined;
      return { ...name, passMs, floorMs: floorMs ?? null, overFloor: share(passMs, floorMs) };
    }
    const weightGBps = (tps * work.passWeightBytes) / 1e9;
    const attention = work.attention.find(({ depth }) => depth === r.size);
    if (attention === undefined || base === undefined) {
      return { ...name, passMs, weightGBps, ofMemory: share(weightGBps, memoryGBps) };
    }
    const addedMs = passMs - 1000 / base.ours.medianTps;
    const floorMs =
      memoryGBps && fmaGflops
        ? Math.max(attention.bytes / 1e6 / memoryGBps, attention.operations / 1e6 / (0.6 * fmaGflops))
        : undefined;
    return { ...name, passMs, addedMs, floorMs: floorMs ?? null, overFloor: share(addedMs, floorMs) };
  });
}

const load0 = loadavg();
const work = await shape();
const ceilings = values["no-ceilings"] ? undefined : await measureCeilings(threads);
if (program !== undefined) await inTurn(program);
else console.error("llama-bench is not built (node scripts/build-llama-bench.mjs): the binding stands in");
if (boundPrefills.length + boundDepths.length > 0)
  await withEngines(
    Math.max(...boundPrefills, ...boundDepths.map((d) => d + (repetitions + 2) * (decode + 2))) + 64,
    1,
    oneSequence,
  );
if (rowCounts.length > 0) await withEngines((repetitions + 2) * decode + 64, Math.max(...rowCounts), fewRows);

const machine = { cpu: cpus()[0]?.model, threads, loadAverage: { before: load0, after: loadavg() }, ceilings };
const document = { path, ops, llamaCpp: llamaSystem, machine, work, results, rooflines: rooflines(work, ceilings) };
saveJson(values.json, document);
console.log(`${path}  ${machine.cpu}, ${threads} threads, load ${load0[0]?.toFixed(1)}; ours ${ops}`);
if (ceilings !== undefined) console.log(`ceilings ${JSON.stringify(ceilings)}`);
for (const line of document.rooflines) {
  const { test, size, ...rest } = line;
  const figures = Object.entries(rest).map(([key, value]) => `${key} ${value === null ? "?" : value.toPrecision(3)}`);
  console.log(`${test.padEnd(7)} ${String(size).padStart(5)}: ${figures.join(", ")}`);
}
if (values.append !== undefined) for (const line of summarizeTurns(turns)) console.log(line);
