/**
 * The worth of error feedback: a model's files with `quantize --quality stock` and `best`, of the same size, compared
 * with the model over texts of several domains.
 *
 *   node dist/bench/feedback.js MODEL TEXT... --calibrate TEXT,TEXT [--calibrate-chunks 48] [--chunks 80]
 *     [--types Q4_K_M,Q3_K_M,pure:Q6_K] [--folder DIR] [--reference f16|q8_0] [--json FILE] [--keep]
 *
 * MODEL may be quantized: half a step of noise either way takes its values off their grid first (support/degrid.ts),
 * and the result, in F16 or Q8_0, is the reference of everything. Texts that the calibration has nothing like say most.
 * 80 chunks are 20,400 scored tokens of each text. A JSON file that exists is continued: types it has are not measured
 * again, so a machine can be asked in slices; the reference and the calibration in --folder are used again as well.
 *
 * Exit code 1: the upper end of an interval of the ratio is above its goal.
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { openGguf } from "../src/formats/index.js";
import { defaultThreads } from "../src/native/threads.js";
import { packageRoot } from "../src/package-root.js";
import { writeDegridded } from "./support/degrid.js";
import { commaList, readArguments, saveJson } from "./support/program.js";

const all = "Q4_K_M,Q3_K_M,Q2_K,pure:IQ4_XS,pure:Q6_K,pure:Q3_K_S,pure:IQ3_S,pure:Q2_K,IQ3_M,pure:Q4_K_S,Q4_0";
/** Upper end of the interval of KL with feedback over KL without. */
const goalOf = (type: string): number => (["Q4_K_M", "pure:Q4_K_S", "Q4_0"].includes(type) ? 0.85 : 0.8);

const { values, path, paths } = readArguments(
  "feedback MODEL TEXT... --calibrate TEXT,TEXT [--types Q4_K_M,pure:Q6_K] [--chunks 80]",
  {
    calibrate: { type: "string" },
    "calibrate-chunks": { type: "string", default: "48" },
    chunks: { type: "string", default: "80" },
    types: { type: "string", default: all },
    folder: { type: "string", default: join(tmpdir(), "feedback-bench") },
    reference: { type: "string", default: "f16" },
    threads: { type: "string", default: String(defaultThreads()) },
    json: { type: "string" },
    keep: { type: "boolean", default: false },
  },
  2,
);
const texts = paths.slice(1);
const calibration = commaList(values.calibrate);
if (calibration.length === 0) throw new Error("--calibrate names no text");
const { folder, threads } = values;
mkdirSync(folder, { recursive: true });

/** A run of our own program: what it prints, and the seconds it took. */
function run(...args: string[]): { readonly document: Record<string, unknown>; readonly seconds: number } {
  const began = performance.now();
  const command = [join(packageRoot(), "bin/hundredweight.js"), ...args, "--threads", threads, "--json"];
  const text = execFileSync(process.execPath, command, { maxBuffer: 2 ** 28, stdio: ["ignore", "pipe", "inherit"] });
  return { document: JSON.parse(text.toString("utf8")), seconds: (performance.now() - began) / 1000 };
}

async function referenceFile(): Promise<string> {
  const to = join(folder, `${basename(path, ".gguf")}-${values.reference}.gguf`);
  if (existsSync(to)) return to;
  const plain = values.reference === "f16" ? to : `${to}.f16`;
  await writeDegridded(openGguf(path), plain, Number(threads));
  if (plain !== to) {
    run("quantize", plain, to, values.reference.toUpperCase());
    rmSync(plain);
  }
  return to;
}

interface Found {
  readonly bytes: number;
  readonly tokens: number;
  readonly seconds: { readonly stock: number; readonly best: number; readonly compare: number };
  readonly stock: number;
  readonly best: number;
  readonly sameTop: readonly [number, number];
  readonly domains: readonly {
    readonly name: string;
    readonly stock: number;
    readonly best: number;
    readonly ratio: { readonly mean: number; readonly low: number; readonly high: number };
  }[];
}

interface DomainDocument {
  readonly name: string;
  readonly tokens: number;
  readonly models: readonly {
    readonly kl: { readonly mean: number };
    readonly sameTop: number;
    readonly ratio: { readonly mean: number; readonly low: number; readonly high: number };
  }[];
}

function measure(type: string, reference: string, imatrix: string): Found {
  const isPure = type.startsWith("pure:");
  const words = [type.replace("pure:", ""), "--imatrix", imatrix];
  if (isPure) words.push("--pure", "--token-embedding-type", values.reference);
  if (values.reference !== "f16") words.push("--requantize");
  const files = ["stock", "best"].map((quality) => ({ quality, file: join(folder, `${quality}.gguf`) }));
  const [stock, best] = files.map(({ quality, file }) =>
    run("quantize", reference, file, ...words, "--quality", quality),
  );
  const bytes = files.map(({ file }) => statSync(file).size);
  if (bytes[0] !== bytes[1]) throw new Error(`${type}: files of ${bytes.join(" and ")} bytes`);
  const compared = run("quality", reference, ...files.map(({ file }) => file), ...texts, "--chunks", values.chunks);
  if (!values.keep) for (const { file } of files) rmSync(file);
  const document = compared.document as unknown as { readonly all: DomainDocument; readonly domains: DomainDocument[] };
  const row = ({ name, models }: DomainDocument) => ({
    name,
    stock: models[0]!.kl.mean,
    best: models[1]!.kl.mean,
    ratio: models[1]!.ratio,
  });
  const [first, second] = document.all.models;
  return {
    bytes: bytes[0]!,
    tokens: document.all.tokens,
    seconds: { stock: stock!.seconds, best: best!.seconds, compare: compared.seconds },
    stock: first!.kl.mean,
    best: second!.kl.mean,
    sameTop: [first!.sameTop, second!.sameTop],
    domains: [...document.domains.map(row), row({ ...document.all, name: "all" })],
  };
}

function line(type: string, found: Found): { readonly text: string; readonly met: boolean } {
  const goal = goalOf(type);
  const { ratio } = found.domains.at(-1)!;
  const met = ratio.high < goal && found.domains.every((domain) => domain.best <= domain.stock);
  const domains = found.domains.map(
    ({ name, ratio: r }) => `${basename(name)} ${r.mean.toFixed(3)} [${r.low.toFixed(3)}-${r.high.toFixed(3)}]`,
  );
  const top = found.sameTop.map((share) => share.toFixed(4)).join(" -> ");
  const times = Object.values(found.seconds).map((seconds) => seconds.toFixed(0));
  return {
    text:
      `${type.padEnd(12)} ${found.stock.toFixed(5)} -> ${found.best.toFixed(5)}; ${domains.join("; ")}; top ${top}; ` +
      `${found.tokens} tokens; ${times.join(" + ")} s${met ? "" : ` GOAL ${goal} MISSED`}`,
    met,
  };
}

const measured: Record<string, Found> =
  values.json !== undefined && existsSync(values.json) ? JSON.parse(readFileSync(values.json, "utf8")) : {};
const reference = await referenceFile();
const imatrix = join(folder, `${basename(path, ".gguf")}.imatrix.gguf`);
if (!existsSync(imatrix)) {
  const { seconds } = run(
    "calibrate",
    reference,
    ...calibration,
    "-o",
    imatrix,
    "--chunks",
    values["calibrate-chunks"],
  );
  console.error(`calibrated in ${seconds.toFixed(0)} s`);
}
const types = commaList(values.types);
for (const type of types) {
  if (measured[type] !== undefined) continue;
  measured[type] = measure(type, reference, imatrix);
  console.error(line(type, measured[type]).text);
  saveJson(values.json, measured);
}
const lines = Object.entries(measured).map(([type, found]) => line(type, found));
for (const { text } of lines) console.log(text);
const perToken = Object.values(measured).map(({ seconds, tokens }) => seconds.compare / tokens);
const quantizing = Object.values(measured).map(({ seconds }) => seconds.stock + seconds.best);
const mean = (numbers: readonly number[]) => numbers.reduce((sum, n) => sum + n, 0) / numbers.length;
const whole = (mean(perToken) * 20_400 * texts.length + mean(quantizing)) * commaList(all).length;
console.log(`all types over 20,400 tokens of each text: ${(whole / 3600).toFixed(1)} hours expected here`);
process.exitCode = lines.every(({ met }) => met) ? 0 : 1;
