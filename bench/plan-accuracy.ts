/**
 * Does a plan tell the truth? Plans first, then runs, for every model and budget.
 *
 *   node dist/bench/plan-accuracy.js MODEL... [--memory 6GiB,10GiB] [--share 120,60,30] [-n 12] [--ctx 512]
 *                                    [--synth PRESET,PRESET --folder DIR] [--json FILE] [--append FILE]
 *
 * Budgets are sizes (--memory) or percent of the model's file (--share). --synth makes the models itself, one at a
 * time, and deletes each when it is done. Each pair: `hundredweight plan --json`, then `hundredweight run --json`, the
 * median pass after the first three. Rates of disk and memory are those that are remembered (`doctor --probe` measures
 * them again). --append adds to a list of pairs measured before and reports the worst of all.
 */
import { execFile } from "node:child_process";
import { existsSync, readFileSync, rmSync, statSync } from "node:fs";
import { basename, join } from "node:path";
import { promisify } from "node:util";
import { parseBytes } from "../src/cli/options/options.js";
import type { LedgerEntry } from "../src/link/protocol.js";
import { packageRoot } from "../src/package-root.js";
import { medianDecodePass } from "./support/decode-passes.js";
import { commaList, readArguments, saveJson } from "./support/program.js";

const { values, paths } = readArguments(
  "plan-accuracy MODEL... [--memory 6GiB,10GiB] [--share 120,60,30]",
  {
    memory: { type: "string" },
    share: { type: "string" },
    tokens: { type: "string", short: "n", default: "12" },
    ctx: { type: "string", default: "512" },
    synth: { type: "string" },
    folder: { type: "string" },
    quant: { type: "string", default: "Q4_K_M" },
    json: { type: "string" },
    append: { type: "string" },
  },
  0,
);
const program = join(packageRoot(), "bin/hundredweight.js");
const execute = promisify(execFile);
async function hundredweight<T>(...args: string[]): Promise<T> {
  const { stdout } = await execute(process.execPath, [program, ...args, "--json"], { maxBuffer: 2 ** 28 });
  return JSON.parse(stdout) as T;
}

interface Pair {
  readonly model: string;
  readonly budgetBytes: number;
  readonly strategy: string;
  readonly predicted: number;
  readonly measured: number;
  readonly predictedCompute: number;
  readonly measuredCompute: number;
  readonly predictedDiskBytes: number;
  readonly measuredDiskBytes: number;
  /** Hits of experts as planned and as they were; undefined without experts. */
  readonly hitRates: readonly [number, number] | undefined;
}
interface PlanDocument {
  readonly strategy: string;
  readonly predictedSecondsPerToken: number;
  readonly predictedComputeSeconds: number;
  readonly streamedBytesPerPass: number;
  readonly expertHitRate: number;
}

const file = values.append ?? values.json;
const pairs: Pair[] =
  values.append !== undefined && existsSync(values.append)
    ? (JSON.parse(readFileSync(values.append, "utf8")) as Pair[])
    : [];
const ratio = ({ predicted, measured }: Pair): number => predicted / measured;

async function measure(path: string, budgetBytes: number): Promise<void> {
  const options = [path, "--memory", String(budgetBytes), "--ctx", values.ctx];
  const plan = await hundredweight<PlanDocument>("plan", ...options);
  const { ledger } = await hundredweight<{ ledger: LedgerEntry[] }>(
    ...["run", ...options.slice(0, 1), "The", ...options.slice(1)],
    ...["--raw", "-n", values.tokens, "--temperature", "0", "--ignore-eos", "--no-probe", "--draft", "off"],
  );
  const measured = medianDecodePass(ledger, 3);
  const pair: Pair = {
    model: basename(path, ".gguf"),
    budgetBytes,
    strategy: plan.strategy,
    predicted: plan.predictedSecondsPerToken,
    measured: measured.seconds,
    predictedCompute: plan.predictedComputeSeconds,
    measuredCompute: measured.computeSeconds,
    predictedDiskBytes: plan.streamedBytesPerPass,
    measuredDiskBytes: measured.diskBytes,
    hitRates: measured.hitRate === undefined ? undefined : [plan.expertHitRate, measured.hitRate],
  };
  pairs.push(pair);
  print(pair);
  saveJson(file, pairs);
}

function print(p: Pair): void {
  const gb = (bytes: number): string => (bytes / 1e9).toFixed(2);
  const percent = (share: number): string => `${(100 * share).toFixed(0)} %`;
  const hits = p.hitRates === undefined ? "" : `, hits ${p.hitRates.map(percent).join(" and ")}`;
  console.log(
    `${p.model.padEnd(18)} ${(p.budgetBytes / 2 ** 30).toFixed(1).padStart(5)} GiB ${p.strategy.padEnd(9)} planned ` +
      `${p.predicted.toFixed(3)} s, measured ${p.measured.toFixed(3)} s: ${ratio(p).toFixed(2)}   (compute ` +
      `${p.predictedCompute.toFixed(3)} and ${p.measuredCompute.toFixed(3)} s, disk ${gb(p.predictedDiskBytes)} and ` +
      `${gb(p.measuredDiskBytes)} GB${hits})`,
  );
}

async function all(path: string): Promise<void> {
  const { size } = statSync(path);
  for (const text of commaList(values.memory)) await measure(path, parseBytes(text, "--memory"));
  for (const percent of commaList(values.share)) await measure(path, Math.floor((size * Number(percent)) / 100));
}

for (const path of paths) await all(path);
for (const preset of commaList(values.synth)) {
  const path = join(values.folder ?? ".", `${preset}.gguf`);
  await hundredweight("synth", preset, path, "--quant", values.quant);
  try {
    await all(path);
  } finally {
    rmSync(path, { force: true });
  }
}
const distance = (p: Pair): number => Math.abs(Math.log(ratio(p)));
const worst = pairs.reduce<Pair | undefined>(
  (w, p) => (w === undefined || distance(p) > distance(w) ? p : w),
  undefined,
);
if (worst !== undefined) {
  const within = pairs.filter((p) => Math.abs(ratio(p) - 1) <= 0.25).length;
  console.log(`${within} of ${pairs.length} pairs within 25 %; the worst:`);
  print(worst);
}
