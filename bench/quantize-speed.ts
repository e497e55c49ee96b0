/**
 * Time to quantize beside llama-quantize, and how long error feedback takes for large models.
 *
 *   node dist/bench/quantize-speed.js [--mixes Q4_K_M,IQ3_S] [--layers 1] [--threads 2] [-r 3] [--folder DIR]
 *     [--program llama-quantize] [--hours 8b,32b,100b] [--json FILE]
 *
 * A random model of some layers of an 8B shape in F16 is quantized by both programs in turn, in processes of their own,
 * reading and writing files in --folder; medians. `scripts/build-llama-bench.mjs --target llama-quantize` builds the
 * other one; without it only ours is timed.
 *
 * --hours: for a layer of each shape, the factor of every input is made once and some rows of every matrix are encoded
 * with it; the sum over all rows and layers is what the whole model would take. Moments are of random inputs.
 *
 * Exit code 1: a mix takes longer here than there.
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { median } from "../src/cli/reports/statistics.js";
import { feedbackBytes, feedbackOrder, momentUse, usualFeedbackBytes } from "../src/compress/feedback.js";
import { mixBase, parseMix } from "../src/compress/mix.js";
import { momentValues } from "../src/compress/moments.js";
import { blocksBytes, type Dtype, dtypeByName } from "../src/formats/index.js";
import { requireAddon } from "../src/native/addon.js";
import { packageRoot } from "../src/package-root.js";
import { Rng } from "../src/sampling/rng.js";
import { parseSpec } from "../src/synth/presets.js";
import { withOverrides } from "../src/synth/shape.js";
import { layOutSynth, writeSynth } from "../src/synth/synth.js";
import { commaList, readArguments, saveJson } from "./support/program.js";

const { values } = readArguments(
  "quantize-speed [--mixes Q4_K_M,IQ3_S] [--layers 1] [-r 3] [--hours 8b,32b,100b]",
  {
    mixes: { type: "string", default: "Q4_K_M,IQ3_S" },
    layers: { type: "string", default: "1" },
    threads: { type: "string", default: "2" },
    repetitions: { type: "string", short: "r", default: "3" },
    folder: { type: "string", default: tmpdir() },
    program: { type: "string", default: join(packageRoot(), ".peer/llama.cpp/build/bin/llama-quantize") },
    hours: { type: "string" },
    json: { type: "string" },
  },
  0,
);
const threads = Number(values.threads);

function seconds(program: string, ...args: string[]): number {
  const began = performance.now();
  execFileSync(program, args, { stdio: ["ignore", "ignore", "ignore"] });
  return (performance.now() - began) / 1000;
}

async function besideLlama(folder: string): Promise<{ readonly document: object; readonly met: boolean }> {
  const { name, shape } = parseSpec("llama-3-8b");
  const model = join(folder, "model.gguf");
  const few = withOverrides(shape, { layers: Number(values.layers), vocab: 8192 });
  await writeSynth(model, layOutSynth(name, few, parseMix("F16")));
  const rows: { readonly mix: string; readonly ours: number; readonly theirs?: number }[] = [];
  for (const mix of commaList(values.mixes)) {
    const [ours, theirs]: [number[], number[]] = [[], []];
    for (let turn = 0; turn < Number(values.repetitions); turn++) {
      const bin = join(packageRoot(), "bin/hundredweight.js");
      ours.push(
        seconds(process.execPath, bin, "quantize", model, join(folder, "ours.gguf"), mix, "--threads", values.threads),
      );
      if (existsSync(values.program))
        theirs.push(seconds(values.program, model, join(folder, "theirs.gguf"), mix, values.threads));
    }
    rows.push({ mix, ours: median(ours), ...(theirs.length > 0 && { theirs: median(theirs) }) });
  }
  let met = true;
  for (const { mix, ours, theirs } of rows) {
    const beside = theirs === undefined ? "" : `, llama-quantize ${theirs.toFixed(2)} s: ${(theirs / ours).toFixed(2)}`;
    console.log(`${mix.padEnd(8)} ${ours.toFixed(2)} s${beside}`);
    met &&= theirs === undefined || theirs >= ours;
  }
  return { document: rows, met };
}

/** Columns and rows of the matrices of a layer, those with the same input together. */
const inputsOf = (dim: number, keysAndValues: number, hidden: number): readonly (readonly [number, number])[] => [
  [dim, dim + keysAndValues],
  [dim, dim],
  [dim, 2 * hidden],
  [hidden, dim],
];
const shapes: Readonly<Record<string, { readonly layers: number; readonly inputs: ReturnType<typeof inputsOf> }>> = {
  "8b": { layers: 32, inputs: inputsOf(4096, 2048, 14336) },
  "32b": { layers: 64, inputs: inputsOf(5120, 2048, 27648) },
  "100b": { layers: 88, inputs: inputsOf(12288, 2048, 28672) },
};
const sampledRows = 64;

interface InputCost {
  /** Seconds for the factor of an input. */
  readonly factoring: number;
  /** Seconds for a row of a matrix that has it. */
  readonly perRow: number;
  /** Memory for both. */
  readonly bytes: number;
}

/** One block of an input is measured, and counted as often as there are blocks. */
function costOf(cols: number, dtype: Dtype): InputCost {
  const addon = requireAddon();
  const rng = new Rng(5);
  const f32 = dtypeByName("F32")!.id;
  // As `calibrate` gathers them in its usual memory: blocks of at most 4,096 columns in models of this size.
  const widest = [4096, 2048, 1024].find((width) => cols % width === 0) ?? 256;
  const use = momentUse({ input: "random", cols, block: widest, rows: [1e5] }, dtype, usualFeedbackBytes)!;
  const { block } = use;
  const sums = new Float32Array(momentValues(block));
  const x = Float32Array.from({ length: 256 * block }, () => rng.uniform() - 0.5);
  addon.addMoments(x, 256, block, block, sums, threads, null);
  const importance = new Float32Array(block).fill(1);
  const order = feedbackOrder(importance, dtype.blockValues, 1);
  const factor = new Float32Array(block * block);
  let began = performance.now();
  addon.makeFactor(sums, block, order, 0.1, 0.01, factor, threads, null);
  const factoring = ((performance.now() - began) / 1000) * (cols / block);
  const rows = Float32Array.from({ length: sampledRows * block }, () => (rng.uniform() - 0.5) / 20);
  const out = new Uint8Array(sampledRows * blocksBytes(dtype, block)!);
  const encode = () =>
    addon.encodeWithFeedback(
      ...([f32, new Uint8Array(rows.buffer), dtype.id, sampledRows, block, importance, factor] as const),
      ...([block, order, out, threads, null] as const),
    );
  encode();
  began = performance.now();
  encode();
  const perRow = (((performance.now() - began) / 1000) * (cols / block)) / sampledRows;
  return { factoring, perRow, bytes: feedbackBytes(use) };
}

/** Hours for all layers, of which a part of one is measured. */
function hoursOf(word: string, mix: string): { readonly hours: number; readonly bytes: number } {
  const shape = shapes[word];
  if (shape === undefined) throw new Error(`--hours: ${word} is none of ${Object.keys(shapes).join(", ")}`);
  const dtype = mixBase(parseMix(mix));
  const widths = [...new Set(shape.inputs.map(([cols]) => cols))];
  const costs = new Map(widths.map((cols) => [cols, costOf(cols, dtype)]));
  const layer = shape.inputs.reduce((sum, [cols, rows]) => {
    const { factoring, perRow } = costs.get(cols)!;
    return sum + factoring + rows * perRow;
  }, 0);
  return {
    hours: (layer * shape.layers) / 3600,
    bytes: Math.max(...[...costs.values()].map(({ bytes }) => bytes)),
  };
}

const folder = mkdtempSync(join(values.folder, "quantize-speed-"));
process.on("SIGINT", () => process.exit(130));
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
const beside = commaList(values.mixes).length > 0 ? await besideLlama(folder) : { document: [], met: true };
const hours: Record<string, object> = {};
for (const word of commaList(values.hours))
  for (const mix of ["Q4_K_S", "IQ3_S"]) {
    const found = hoursOf(word, mix);
    hours[`${word} ${mix}`] = found;
    console.log(
      `${word} ${mix} with feedback: ${found.hours.toFixed(2)} hours, ${(found.bytes / 2 ** 30).toFixed(2)} GiB for it`,
    );
  }
saveJson(values.json, { beside: beside.document, hours });
process.exitCode = beside.met ? 0 : 1;
