/**
 * Every tensor type beside llama.cpp: a wide model of four layers of each is made in a temporary folder, compared by
 * vs-llama-cpp (prefill and decode), and removed.
 *
 *   node dist/bench/types.js [--types BF16,Q4_0] [--prefill 512] [-n 24] [-r 3] [--threads N] [--folder DIR]
 *     [--json FILE]
 *
 * Matrices of 4096 x 11008 make one layer far larger than any cache, so decode is bound by memory and four layers say
 * what forty would. MXFP4 exists in the experts of gpt-oss only: its row is four layers of that model, 4 experts of 32
 * a token, and its attention is Q8_0. The K types are the `_S` mixes, where all but a few tensors have the type.
 *
 * A JSON file that exists is continued: types it has are not measured again, so a machine can be asked in slices.
 * Exit code 1: a type is below the goals (decode 0.97; prefill 1.3, float types 0.95).
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseMix } from "../src/compress/mix.js";
import { packageRoot } from "../src/package-root.js";
import { parseSpec } from "../src/synth/presets.js";
import { withOverrides } from "../src/synth/shape.js";
import { layOutSynth, writeSynth } from "../src/synth/synth.js";
import { commaList, readArguments, saveJson } from "./support/program.js";

const all =
  "F32,F16,BF16,Q4_0,Q4_1,Q5_0,Q5_1,Q8_0,Q2_K_S,Q3_K_S,Q4_K_S,Q5_K_S,Q6_K,IQ4_NL,IQ4_XS,MXFP4_MOE,IQ2_XXS,IQ2_XS,IQ2_M,IQ3_XXS,IQ3_S,IQ1_S,IQ1_M,TQ1_0,TQ2_0,Q1_0,Q2_0,NVFP4";
const floats = new Set(["F32", "F16", "BF16"]);
const goals = { decode: 0.97, prefill: 1.3, floatPrefill: 0.95 };

const { values } = readArguments(
  "types [--types BF16,Q4_0] [--prefill 512] [-n 24] [-r 3]",
  {
    types: { type: "string", default: all },
    prefill: { type: "string", default: "512" },
    decode: { type: "string", short: "n", default: "24" },
    repetitions: { type: "string", short: "r", default: "3" },
    threads: { type: "string" },
    folder: { type: "string", default: tmpdir() },
    json: { type: "string" },
  },
  0,
);

/** The part of vs-llama-cpp's output that is read here. */
interface Comparison {
  readonly machine: { readonly cpu: string; readonly threads: number; readonly ceilings?: { memoryGBps?: number } };
  readonly work: { readonly passWeightBytes: number; readonly promptRowOperations: number };
  readonly results: readonly {
    readonly test: "prefill" | "decode";
    readonly ours: { readonly medianTps: number };
    readonly ratio: number;
    readonly ratioMin: number;
    readonly ratioMax: number;
  }[];
}
type Measured = Record<string, Comparison>;

async function writeModel(type: string, path: string): Promise<void> {
  const experts = type === "MXFP4_MOE";
  const { name, shape } = parseSpec(experts ? "gpt-oss-20b" : "llama-1b");
  const few = { layers: 4, vocab: 8192 };
  const wide = { dim: 4096, hidden: 11008, heads: 32, "kv-heads": 8, "head-dim": 128 };
  await writeSynth(path, layOutSynth(name, withOverrides(shape, experts ? few : { ...few, ...wide }), parseMix(type)));
}

/** @throws when either engine failed; the other one's message is on stderr */
function compare(model: string, json: string): Comparison {
  const program = join(packageRoot(), "dist/bench/vs-llama-cpp.js");
  const { prefill, decode, repetitions, threads } = values;
  const size = ["--prefill", prefill, "--rows", "none", "-n", decode, "-r", repetitions, "--minutes", "30"];
  const args = [program, model, ...size, "--json", json, ...(threads === undefined ? [] : ["--threads", threads])];
  const { status } = spawnSync(process.execPath, args, { stdio: ["ignore", "ignore", "inherit"] });
  if (status !== 0) throw new Error(`vs-llama-cpp ended with ${status}`);
  return JSON.parse(readFileSync(json, "utf8")) as Comparison;
}

/** One line of the table, and whether it meets the goals. */
function line(type: string, { machine, work, results }: Comparison): { text: string; met: boolean } {
  let [text, met] = [type.padEnd(10), true];
  for (const { test, ours, ratio, ratioMin, ratioMax } of results) {
    const goal = test === "decode" ? goals.decode : floats.has(type) ? goals.floatPrefill : goals.prefill;
    met &&= ratio >= goal;
    const tps = `${ours.medianTps.toFixed(1)} tok/s`.padStart(13);
    const spread = `${ratioMin.toFixed(2)}-${ratioMax.toFixed(2)}`;
    const rate =
      test === "decode"
        ? `${((ours.medianTps * work.passWeightBytes) / 1e9).toFixed(1)} of ` +
          `${machine.ceilings?.memoryGBps?.toFixed(1) ?? "?"} GB/s`
        : `${((ours.medianTps * work.promptRowOperations) / 1e9).toFixed(0)} GOP/s`;
    text += `  ${test} ${tps}, ${ratio.toFixed(2)} (${spread})${ratio < goal ? ` BELOW ${goal}` : ""}, ${rate};`;
  }
  return { text, met };
}

const measured: Measured =
  values.json !== undefined && existsSync(values.json) ? JSON.parse(readFileSync(values.json, "utf8")) : {};
const folder = mkdtempSync(join(values.folder, "types-"));
process.on("SIGINT", () => process.exit(130));
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));

for (const type of commaList(values.types)) {
  if (measured[type] !== undefined) continue;
  const model = join(folder, `${type}.gguf`);
  await writeModel(type, model);
  const found = compare(model, join(folder, "comparison.json"));
  rmSync(model);
  measured[type] = found;
  console.error(line(type, found).text);
  saveJson(values.json, measured);
}

const lines = Object.entries(measured).map(([type, found]) => line(type, found));
for (const { text } of lines) console.log(text);
process.exitCode = lines.every(({ met }) => met) ? 0 : 1;
