/**
 * Milliseconds from the start of `run` to the first byte of its answer, and where they go. Every process and thread
 * tells when it passed which mark (HUNDREDWEIGHT_MARKS); medians of the runs are told in the order of time.
 *   node dist/bench/first-byte.js MODEL [--runs 11] [--template] [--prompt TEXT]
 */
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { median } from "../src/cli/reports/statistics.js";
import { packageRoot } from "../src/package-root.js";
import { childEnvironment } from "../src/process/child-environment.js";
import { readArguments } from "./support/program.js";

const { values, path: model } = readArguments("first-byte MODEL [--runs 11] [--template] [--prompt TEXT]", {
  runs: { type: "string", default: "11" },
  prompt: { type: "string", default: "And the king said" },
  template: { type: "boolean", default: false },
  program: { type: "string", default: join(packageRoot(), "bin/hundredweight.js") },
});
/** Certificates of NODE_EXTRA_CA_CERTS take Node alone 40 to 70 ms, which is no time of this program's. */
const environment = childEnvironment();
const folder = mkdtempSync(join(tmpdir(), "hundredweight-first-byte-"));
const args = ["run", model, values.prompt, "-n", "1", "--no-probe", ...(values.template ? [] : ["--raw"])];

async function once(run: number): Promise<ReadonlyMap<string, number>> {
  const marks = join(folder, `${run}.txt`);
  const began = performance.timeOrigin + performance.now();
  const child = spawn(process.execPath, [values.program, ...args], {
    stdio: ["ignore", "pipe", "ignore"],
    env: { ...environment, HUNDREDWEIGHT_MARKS: marks },
  });
  const first = await new Promise<number>((resolve, reject) => {
    child.stdout.once("data", () => resolve(performance.timeOrigin + performance.now()));
    child.once("exit", (code) => reject(new Error(`run ended with ${code} and said nothing`)));
  });
  child.stdout.resume();
  await new Promise((resolve) => child.once("exit", resolve));
  const times = new Map<string, number>([["first byte", first - began]]);
  for (const line of readFileSync(marks, { encoding: "utf8", flag: "a+" }).split("\n").filter(Boolean)) {
    const [time, name] = line.split("\t") as [string, string];
    if (!times.has(name)) times.set(name, Number(time) - began);
  }
  return times;
}

async function bare(): Promise<number> {
  const began = performance.now();
  const child = spawn(process.execPath, ["-e", "0"], { stdio: "ignore", env: environment });
  await new Promise((resolve) => child.once("exit", resolve));
  return performance.now() - began;
}

try {
  const runs: ReadonlyMap<string, number>[] = [];
  const bares: number[] = [];
  await once(-1); // the file and the programs are in the page cache from here on
  for (let run = 0; run < Number(values.runs); run++) {
    runs.push(await once(run));
    bares.push(await bare());
  }
  const names = new Set(runs.flatMap((times) => [...times.keys()]));
  const rows = [...names].map((name) => ({ name, ms: median(runs.flatMap((times) => times.get(name) ?? [])) }));
  rows.sort((a, b) => a.ms - b.ms);
  let before = 0;
  for (const { name, ms } of rows) {
    console.log(`${ms.toFixed(0).padStart(5)} ms  +${(ms - before).toFixed(0).padStart(3)}  ${name}`);
    before = ms;
  }
  console.log(`${median(bares).toFixed(0).padStart(5)} ms        a Node that does nothing, from its start to its end`);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
