/**
 * Seconds per token against the memory budget: is it the hinge max((S - P) / D, C), or is there a cliff?
 *
 *   node dist/bench/no-cliff.js MODEL [--weights 100,95,90,75,50,25] [--memory 115%,103%,10GiB] [-n 8] [--ctx 512]
 *                               [--append FILE] [--summary] [--json FILE] [--svg FILE] [--llama] [--margin 1GiB]
 *                               [--peak]
 *
 * --weights are percent of the model's weight bytes given to pinned weights and ring; --memory are whole budgets, sizes
 * or percent of the file. Each point is one process of `hundredweight run`, from a cold page cache, in a memory cgroup
 * of its own (budget + margin; said aloud where none can be made); its time is the median pass after the first. D is
 * measured on the very extents the point streams, before and after it, by the same reader; the first reading of a run
 * is thrown away (a cache below a virtual machine answers faster the second time). C is the pass's time without
 * waiting. Beside it stands what a plan with the remembered rates says. --append adds the points to those of earlier
 * processes, so that a machine can be asked in slices; --summary measures nothing and says what they come to. Exit code
 * 1: a point above 1.25 times its limit, a plan off by more than a quarter, or ids that differ (the medians over the
 * processes of each point); with --peak also a process that was charged more than its budget. Expert models: the limit
 * uses the bytes the ledger says were read, so it is the limit at the measured hit rate. --llama runs llama.cpp (mmap)
 * in the same cgroups; its repacking cannot be switched off here: see its system line.
 */
import { execFile } from "node:child_process";
import { writeFileSync } from "node:fs";
import { loadavg } from "node:os";
import { basename, join } from "node:path";
import { promisify } from "node:util";
import { parseBytes } from "../src/cli/options/options.js";
import { openCheckpoint } from "../src/containers/index.js";
import type { LedgerEntry } from "../src/link/protocol.js";
import { describeModel } from "../src/models/index.js";
import { packageRoot } from "../src/package-root.js";
import { type Plan, Planner } from "../src/weights/plan.js";
import { knownMachine } from "../src/weights/probe.js";
import { memoryGroup } from "./support/cgroup.js";
import { dropFromCache } from "./support/cold.js";
import { medianDecodePass } from "./support/decode-passes.js";
import { diskRate } from "./support/disk-rate.js";
import { type HingePoint, readPoints, summarize } from "./support/hinge.js";
import { commaList, readArguments, saveJson } from "./support/program.js";
import { chart } from "./support/svg.js";

const { values, path } = readArguments("no-cliff MODEL [--weights 100,50,25] [--memory 103%,10GiB] [-n 8]", {
  weights: { type: "string" },
  memory: { type: "string" },
  tokens: { type: "string", short: "n", default: "8" },
  ctx: { type: "string", default: "512" },
  margin: { type: "string", default: "1GiB" },
  svg: { type: "string" },
  json: { type: "string" },
  append: { type: "string" },
  summary: { type: "boolean", default: false },
  llama: { type: "boolean", default: false },
  peak: { type: "boolean", default: false },
});
const run = promisify(execFile);
const contextTokens = Number(values.ctx);
const checkpoint = await openCheckpoint(path);
const description = describeModel(checkpoint);
const machine = knownMachine({ path }).profile;
const model = new Planner(description, machine).model;
const weightBytes = model.trunkBytes + model.expertBytes;
const fileBytes = checkpoint.files.reduce((sum, { bytes }) => sum + bytes, 0);

interface Budget {
  readonly label: string;
  readonly flags: readonly string[];
  readonly options: { readonly weightsMemoryBytes?: number; readonly budgetBytes?: number };
  readonly bytes: number;
}
const percentOfFile = (text: string): number | undefined =>
  text.endsWith("%") ? Math.floor((fileBytes * Number(text.slice(0, -1))) / 100) : undefined;
const budgets: Budget[] = [
  ...commaList(values.weights ?? (values.memory === undefined ? "110,100,95,90,75,50,25" : "")).map((p): Budget => {
    const bytes = Math.floor((weightBytes * Number(p)) / 100);
    return {
      label: `${p} %`,
      flags: ["--weights-memory", `${bytes}B`],
      options: { weightsMemoryBytes: bytes },
      bytes,
    };
  }),
  ...commaList(values.memory).map((text): Budget => {
    const bytes = percentOfFile(text) ?? parseBytes(text, "--memory");
    return { label: text, flags: ["--memory", `${bytes}B`], options: { budgetBytes: bytes }, bytes };
  }),
];

const planFor = (budget: Budget): Plan | undefined =>
  // What the passes of the point before have shown is part of what is remembered.
  new Planner(description, knownMachine({ path }).profile, { contextTokens, ...budget.options }).tryPlan(
    budget.options.budgetBytes ?? machine.availableBytes,
  );

interface Run {
  tokens: number[];
  ledger: LedgerEntry[];
  memory: Record<string, number>;
}
const points: (HingePoint & Record<string, unknown>)[] = [];
const earlier = readPoints(values.append);
for (const budget of values.summary ? [] : budgets) {
  const plan = planFor(budget);
  diskRate(plan, model);
  const before = diskRate(plan, model);
  const [cache] = checkpoint.files.map((file) => dropFromCache(file.path));
  const group = memoryGroup(
    `ours-${points.length}`,
    budget.options.budgetBytes === undefined
      ? Math.ceil(budget.bytes + 2 ** 31)
      : budget.bytes + parseBytes(values.margin, "--margin"),
  );
  if (group === undefined) console.error("no memory cgroup can be made here: the budget is measured, not enforced");
  const quote = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;
  const command = [
    process.execPath,
    join(packageRoot(), "bin/hundredweight.js"),
    "run",
    path,
    "The",
    "--raw",
    "-n",
    values.tokens,
    "--ctx",
    values.ctx,
    "--temperature",
    "0",
    "--ignore-eos",
    "--draft",
    "off",
    "--json",
    ...budget.flags,
  ];
  const { stdout } = await run("sh", ["-c", `${group?.enter ?? ""}exec ${command.map(quote).join(" ")}`], {
    maxBuffer: 2 ** 28,
  });
  const peak = group?.peakBytes();
  const hits = group?.hits();
  group?.close();
  const after = diskRate(plan, model);
  const answer = JSON.parse(stdout) as Run;
  const { seconds, computeSeconds: compute, diskBytes: disk, hitRate } = medianDecodePass(answer.ledger, 1);
  const D = before === undefined || after === undefined ? undefined : (before + after) / 2;
  const limit = Math.max(D === undefined ? 0 : disk / D, compute);
  points.push({
    model: basename(path, ".gguf"),
    budget: budget.label,
    budgetBytes: budget.bytes,
    plannedSeconds: plan?.prediction.secondsPerToken,
    ringBytes: answer.memory.ringBytes ?? 0,
    tokens: answer.tokens.join(),
    cache,
    loadAverage: loadavg()[0],
    secondsPerToken: seconds,
    limit,
    ratio: seconds / limit,
    diskBytes: disk,
    diskBytesPerSecond: D,
    computeSeconds: compute,
    hitRate,
    peakChargeBytes: peak,
    limitHits: hits,
    unaccountedBytes: answer.memory.unaccountedBytes,
    peakRssBytes: answer.memory.peakRssBytes,
  });
  if (values.peak && budget.options.budgetBytes !== undefined && (peak ?? 0) > budget.bytes) {
    console.log(`${budget.label}: charged ${peak} bytes, more than the budget of ${budget.bytes}`);
    process.exitCode = 1;
  }
  saveJson(values.append, { points: [...earlier, ...points] });
  const gib = (bytes: number | undefined): string =>
    bytes === undefined ? "-" : `${(bytes / 2 ** 30).toFixed(2)} GiB`;
  console.log(
    `${budget.label.padStart(8)}: ${seconds.toFixed(3)} s/token, limit ${limit.toFixed(3)} ` +
      `(${(seconds / limit).toFixed(2)}x), planned ${plan?.prediction.secondsPerToken.toFixed(3) ?? "-"}: ` +
      `${gib(disk)} at ${D === undefined ? "-" : (D / 1e9).toFixed(2)} GB/s, compute ${compute.toFixed(3)} s` +
      `${hitRate === undefined ? "" : `, hit rate ${(100 * hitRate).toFixed(1)} %`}; peak charge ` +
      `${gib(peak)}, limit hit ${hits ?? "-"} times`,
  );
}
const { lines, met } = summarize([...earlier, ...points]);
for (const line of lines) console.log(line);

if (values.llama) {
  for (const [i, budget] of budgets.entries()) {
    const group = memoryGroup(`llama-${i}`, budget.bytes + parseBytes(values.margin, "--margin"));
    const script = [
      { id: 1, command: "load", path, contextTokens, batch: 512 },
      { id: 2, command: "prefill", ids: [1] },
      { id: 3, command: "decode", count: Math.min(4, Number(values.tokens)) },
    ]
      .map((q) => JSON.stringify(q))
      .join("\\n");
    try {
      const shell =
        `${group?.enter ?? ""}printf '${script}\\n' | exec '${process.execPath}' ` +
        `'${join(packageRoot(), "test/peer/llama.mjs")}'`;
      const { stdout } = await run("sh", ["-c", shell], { timeout: 600_000 });
      const decode = stdout
        .split("\n")
        .filter(Boolean)
        .map((l) => JSON.parse(l) as { id: number; ms?: number; tokens?: number; error?: string })
        .find((a) => a.id === 3);
      const seconds = decode?.ms === undefined ? undefined : decode.ms / 1000 / (decode.tokens ?? 1);
      Object.assign(points[i] as object, { llamaSecondsPerToken: seconds });
      console.log(
        `llama.cpp ${budget.label.padStart(8)}: ` +
          `${seconds === undefined ? decode?.error : `${seconds.toFixed(3)} s/token`}`,
      );
    } catch (error) {
      console.log(
        `llama.cpp ${budget.label.padStart(8)}: ended ` +
          `(${(group?.kills() ?? 0) > 0 ? "killed, out of memory" : (error as Error).message.slice(0, 120)})`,
      );
    }
    group?.close();
  }
}
saveJson(values.json, { path, weightBytes, points });
if (values.svg !== undefined) {
  const at = (p: Record<string, unknown>, key: string): [number, number] => [
    (p.budgetBytes as number) / 2 ** 30,
    p[key] as number,
  ];
  writeFileSync(
    values.svg,
    chart("Seconds per token against the memory for weights", "GiB", "s/token", [
      { name: "hundredweight", colour: "#1565c0", points: points.map((p) => at(p, "secondsPerToken")) },
      { name: "limit max((S - P) / D, C)", colour: "#2e7d32", dashed: true, points: points.map((p) => at(p, "limit")) },
      ...(values.llama
        ? [
            {
              name: "llama.cpp (mmap)",
              colour: "#c62828",
              points: points
                .filter((p) => p.llamaSecondsPerToken !== undefined)
                .map((p) => at(p, "llamaSecondsPerToken")),
            },
          ]
        : []),
    ]),
  );
}
if (!met) process.exitCode = 1;
