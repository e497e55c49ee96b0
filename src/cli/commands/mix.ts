/** `mix IN OUT --bytes SIZE`: the types that leave a model nearest to itself in so many bytes. */
import type { Command } from "commander";
import { readImportance } from "../../compress/importance.js";
import { isQuantizable } from "../../compress/mix.js";
import type { QuantizePlan } from "../../compress/quantize-model.js";
import { writeQuantized } from "../../convert/index.js";
import { HundredweightError } from "../../errors.js";
import { type GgufCheckpoint, openGguf } from "../../formats/index.js";
import { defaultThreads } from "../../native/threads.js";
import { type Choice, measureCandidates, searchedTypes } from "../../quality/mix/candidates.js";
import { Judge } from "../../quality/mix/judge.js";
import {
  type Fit,
  fileBytes,
  fitsWith,
  fittingBytes,
  futureModel,
  planOf,
  solveFitting,
} from "../../quality/mix/outlook.js";
import { EncodedPool } from "../../quality/mix/pool.js";
import {
  assignmentOf,
  improve,
  type MixSearch,
  measureGroups,
  type Preset,
  parseSensitivities,
  planWith,
  presetsOf,
  rivalsOf,
  type Sensitivities,
  weightsBy,
} from "../../quality/mix/search.js";
import type { Assignment } from "../../quality/mix/solve.js";
import type { Domain, ModelQuality } from "../../quality/quality.js";
import { checkOutputPath, readTextSync, writeOutputSync } from "../../regular-file.js";
import { modelFile } from "../../store/model-word.js";
import { knownMachine } from "../../weights/probe.js";
import { momentsOf } from "../options/moments-option.js";
import { parseBytes, parseChoice, parseInteger, parseNumber } from "../options/options.js";
import { withInterrupt } from "../terminal/interrupt.js";
import { formatBytes, printJson, printText, tell } from "../terminal/output.js";
import { Progress } from "../terminal/progress.js";
import { chunksOf } from "./calibrate.js";
import { TokenSource } from "./perplexity.js";

interface MixFlags {
  readonly bytes?: number;
  readonly bpw?: number;
  readonly fitsMemory?: number | true;
  readonly memory?: number;
  readonly imatrix?: string;
  readonly moments?: string;
  readonly quality?: string;
  readonly text: readonly string[];
  readonly chunks: number;
  readonly verify: number;
  readonly rounds: number;
  readonly sensitivity?: string;
  readonly dryRun?: boolean;
  readonly threads?: number;
  readonly progress?: boolean;
  readonly json?: boolean;
}

export function register(program: Command): void {
  program
    .command("mix")
    .description(
      "Quantize a model to a size: the type of every tensor is chosen by what its errors do to the model, measured " +
        "over texts. The result is compared with llama-quantize's mix of that size; the better of both is written.",
    )
    .argument("<in>", "a GGUF file in F32, F16 or BF16")
    .argument("<out>", "GGUF file to write")
    .option("--bytes <size>", "most bytes of the file, e.g. 12GiB", (t) => parseBytes(t, "--bytes"))
    .option("--bpw <bits>", "bits a value instead, of all tensors", (t) => parseNumber(t, "--bpw", 1, 32))
    .option(
      "--fits-memory [seconds]",
      "the best that stays in memory, or that is streamed at so many seconds a token",
      (t) => parseNumber(t, "--fits-memory", 1e-6, 1e6),
    )
    .option("--memory <size>", "memory for --fits-memory and for measuring (default: what is free)", (t) =>
      parseBytes(t, "--memory"),
    )
    .option("--imatrix <file>", "importance of the columns, as `calibrate` writes it")
    .option("--moments <file>", "moments of inputs, as `calibrate` writes them; found beside --imatrix")
    .option(
      "--quality <name>",
      "best: all files that are compared have codes chosen with error feedback (default with moments); stock: none",
      (t) => parseChoice(t, "--quality", ["stock", "best"]),
    )
    .option(
      "--text <file>",
      "a text to measure by, several times for several; without any, weights alone decide",
      (t, before: string[]) => [...before, t],
      [],
    )
    .option(
      "--chunks <n>",
      "chunks of 512 tokens of each text for the search",
      (t) => parseInteger(t, "--chunks", 1),
      2,
    )
    .option(
      "--verify <n>",
      "chunks behind those, for the comparison at the end",
      (t) => parseInteger(t, "--verify", 1),
      8,
    )
    .option("--rounds <n>", "rounds of seven trials of the same size", (t) => parseInteger(t, "--rounds", 0, 1000), 5)
    .option("--sensitivity <file>", "what was measured of groups: read where it is there, else written")
    .option("--dry-run", "write nothing: which types, and what size")
    .option("--threads <n>", "compute threads", (t) => parseInteger(t, "--threads", 1, 1024))
    .option("--progress", "show progress also when stderr is no terminal")
    .option("--json", "one JSON document on stdout")
    .action((from: string, to: string, flags: MixFlags) => withInterrupt((signal) => run(from, to, flags, signal)));
}

const chunkTokens = 512;

interface Texts {
  readonly search: Domain[];
  readonly verify: Domain[];
}

async function run(word: string, to: string, flags: MixFlags, signal: AbortSignal): Promise<void> {
  const goals = [flags.bytes, flags.bpw, flags.fitsMemory].filter((goal) => goal !== undefined);
  if (goals.length !== 1) throw new HundredweightError("OPTION_INVALID", "give one of --bytes, --bpw, --fits-memory");
  const checkpoint = openGguf(modelFile(word));
  // Before hours go by for it.
  if (flags.sensitivity !== undefined) checkOutputPath(flags.sensitivity);
  const importance = flags.imatrix === undefined ? undefined : readImportance(flags.imatrix);
  const moments = momentsOf(flags);
  const wishes = { ...(importance && { importance }), ...(moments && { moments }) };
  const presets = presetsOf(checkpoint, wishes);
  const threads = flags.threads ?? defaultThreads();
  const progress = new Progress("mix", { forced: flags.progress });
  const onStep = (what: string, done: number, total: number): void => progress.update(done, total, { facts: [what] });
  const texts = await textsOf(checkpoint, flags);
  const tensors = presets[0]!.plan.tensors.filter(({ tensor }) => isQuantizable(tensor));
  const choices = await measureCandidates(tensors, searchedTypes, {
    threads,
    wishes,
    signal,
    onTensor: (done, total) => onStep("tensors", done, total),
  });
  const memory = flags.memory ?? knownMachine({ path: checkpoint.path }).profile.availableBytes;
  const options = { chunkTokens, threads, memoryBytes: memory, signal };
  const pool = new EncodedPool(`${to}.trials`, checkpoint, threads, wishes);
  try {
    const goal = goalOf(checkpoint, choices, presets[0]!, flags, memory);
    const search: MixSearch = {
      checkpoint,
      choices,
      pool,
      judge: new Judge(checkpoint, options),
      domains: texts.search,
      fits: goal.fit && fitsWith(checkpoint, choices, goal.fit),
      signal,
      onStep,
    };
    const weights = await weightsFor(search, goal.bits, flags);
    const found = await assign(search, weights, goal, presets, flags.rounds);
    progress.end();
    await finish(to, flags, { search, texts, presets, found, goal, wishes, checkpoint, threads, signal });
  } finally {
    progress.end();
    await pool.close();
  }
}

/** First chunks for the search, those behind them for the end. */
async function textsOf(checkpoint: GgufCheckpoint, { text, chunks, verify }: MixFlags): Promise<Texts> {
  const texts: Texts = { search: [], verify: [] };
  for (const name of text) {
    const source = new TokenSource(checkpoint.path, name);
    await source.open();
    const all: Int32Array[] = [];
    for (const chunk of chunksOf([source], chunkTokens)) {
      all.push(chunk);
      if (all.length === chunks + verify) break;
    }
    if (all.length <= chunks)
      throw new HundredweightError(
        "OPTION_INVALID",
        `${name}: has ${all.length} chunks of ${chunkTokens} tokens, expected more than ${chunks}; give a longer text`,
      );
    texts.search.push({ name, chunks: all.slice(0, chunks) });
    texts.verify.push({ name, chunks: all.slice(chunks) });
  }
  return texts;
}

interface Goal {
  /** Most bytes of the tensors whose types are free, and of the whole file. */
  readonly tensorBytes: number;
  readonly fileBytes: number;
  /** Bits of a value of those tensors. */
  readonly bits: number;
  readonly fit: Fit | undefined;
}

function goalOf(
  checkpoint: GgufCheckpoint,
  choices: readonly Choice[],
  preset: Preset,
  flags: MixFlags,
  memoryBytes: number,
): Goal {
  const typed = preset.plan.tensors.filter(({ tensor }) => isQuantizable(tensor));
  const fixed = preset.bytes - typed.reduce((sum, { bytes }) => sum + Math.ceil(bytes / 32) * 32, 0);
  const values = typed.reduce((sum, { tensor }) => sum + tensor.shape.reduce((a, b) => a * b, 1), 0);
  const of = (tensorBytes: number, fit?: Fit): Goal => ({
    tensorBytes,
    fileBytes: tensorBytes + fixed,
    bits: (8 * tensorBytes) / values,
    fit,
  });
  if (flags.bytes !== undefined) return of(flags.bytes - fixed);
  if (flags.bpw !== undefined) {
    const kept = preset.plan.bytes - typed.reduce((sum, { bytes }) => sum + bytes, 0);
    return of(Math.floor((flags.bpw * preset.plan.values) / 8) - kept);
  }
  const { profile } = knownMachine({ path: checkpoint.path });
  const fit: Fit = {
    memoryBytes,
    machine: profile,
    ...(typeof flags.fitsMemory === "number" && { secondsPerToken: flags.fitsMemory }),
  };
  const bytes = fittingBytes(checkpoint, choices, fit);
  if (bytes !== undefined) return of(bytes, fit);
  const wish =
    typeof flags.fitsMemory === "number" ? `is streamed at ${flags.fitsMemory} s a token` : "stays in memory";
  throw new HundredweightError(
    "MEMORY_BUDGET",
    `not even the smallest types make a file that ${wish} in ${formatBytes(memoryBytes)}`,
    { budgetBytes: memoryBytes },
  );
}

async function weightsFor(search: MixSearch, bits: number, { sensitivity, text }: MixFlags): Promise<number[]> {
  if (text.length === 0) return search.choices.map(() => 1);
  let known: Sensitivities | undefined;
  if (sensitivity !== undefined)
    try {
      known = parseSensitivities(sensitivity, readTextSync(sensitivity));
    } catch (error) {
      if ((error as HundredweightError).code !== "FILE_NOT_FOUND") throw error;
    }
  const measured = known ?? (await measureGroups(search, bits));
  if (sensitivity !== undefined && known === undefined)
    writeOutputSync(sensitivity, `${JSON.stringify(measured, null, 1)}\n`);
  return weightsBy(search.choices, measured);
}

async function assign(
  search: MixSearch,
  weights: readonly number[],
  goal: Goal,
  presets: readonly Preset[],
  rounds: number,
): Promise<Assignment> {
  const { fits = () => true } = search;
  const predicted = solveFitting(search.choices, weights, goal.tensorBytes, fits);
  if (predicted === undefined) {
    const least = search.choices.reduce((sum, { candidates }) => sum + candidates[0]!.bytes, 0);
    throw new HundredweightError(
      "OPTION_INVALID",
      `the smallest types make ${formatBytes(goal.fileBytes - goal.tensorBytes + least)}: give more bytes` +
        ", or an importance matrix, with which smaller types can be had",
    );
  }
  if (search.domains.length === 0) return predicted;
  const starts = rivals(search, presets, goal).flatMap((preset) => {
    const assignment = assignmentOf(search.choices, preset);
    return assignment === undefined ? [] : [assignment];
  });
  return (await improve(search, weights, [predicted, ...starts], goal.tensorBytes, rounds)).assignment;
}

/** Presets that the result is compared with: of no more bytes, and as fit where that was asked for. */
function rivals({ choices, fits }: MixSearch, presets: readonly Preset[], goal: Goal): Preset[] {
  const found = rivalsOf(presets, goal.fileBytes);
  if (fits === undefined) return found;
  return found.filter((preset) => {
    const assignment = assignmentOf(choices, preset);
    return assignment !== undefined && fits(assignment);
  });
}

interface Finish {
  readonly search: MixSearch;
  readonly texts: Texts;
  readonly presets: readonly Preset[];
  readonly found: Assignment;
  readonly goal: Goal;
  readonly wishes: Parameters<typeof presetsOf>[1];
  readonly checkpoint: GgufCheckpoint;
  readonly threads: number;
  readonly signal: AbortSignal;
}

/** Both files are measured over text that the search has not seen; the better one is written. */
async function finish(to: string, flags: MixFlags, all: Finish): Promise<void> {
  const { search, texts, presets, found, goal, wishes, checkpoint, threads, signal } = all;
  const { choices, pool, judge } = search;
  const compared = rivals(search, presets, goal);
  const base = compared[0] ?? presets.at(-1)!;
  const plan = planWith(checkpoint, { ...wishes, mix: base.mix }, choices, found);
  const plans: QuantizePlan[] = [plan, ...compared.map((rival) => rival.plan)];
  let best = 0;
  const rows: { name: string; bytes: number; quality?: ModelQuality }[] = [
    { name: "mix", bytes: fileBytes(plan) },
    ...compared.map(({ mix, bytes }) => ({ name: mix as string, bytes })),
  ];
  if (texts.verify.length > 0) {
    const typed = (from: QuantizePlan) =>
      from.tensors.filter(({ tensor }) => isQuantizable(tensor)).map((planned) => ({ planned, dtype: planned.to }));
    const models = [];
    for (const one of plans) models.push(await pool.modelOf(typed(one), signal));
    const { all: quality } = await judge.compare(models, texts.verify);
    for (const [i, row] of rows.entries()) row.quality = quality.models[i]!;
    best = quality.models.reduce((at, model, i, own) => (model.kl.mean < own[at]!.kl.mean ? i : at), 0);
  }
  const outlook = goal.fit && planOf(futureModel(checkpoint, choices, found), goal.fit);
  const winner = rows[best]!;
  if (flags.json)
    printJson({
      bytes: winner.bytes,
      written: winner.name,
      compared: rows.map(({ name, bytes, quality }) => ({ name, bytes, ...(quality && { quality }) })),
      ...(outlook && { strategy: outlook.strategy, secondsPerToken: outlook.prediction.secondsPerToken }),
      types: choices.map(({ planned }, i) => ({ name: planned.tensor.name, type: found[i]!.dtype.name })),
    });
  else {
    for (const { name, bytes, quality } of rows) printText(`${lineOf(name, bytes, quality)}\n`);
    printText(`${typesText(choices, found)}\n`);
    if (outlook)
      printText(`${outlook.strategy}, ${outlook.prediction.secondsPerToken.toPrecision(3)} s a token expected\n`);
  }
  if (flags.dryRun) return;
  await writeQuantized(to, plans[best]!, { threads, signal });
  if (winner.name !== "mix") tell(`${winner.name} is nearer to the model than what was found: it was written`);
  if (!flags.json) printText(`${to}: ${winner.name}, ${formatBytes(winner.bytes)}\n`);
}

function lineOf(name: string, bytes: number, quality: ModelQuality | undefined): string {
  const size = `${name.padEnd(8)} ${bytes} bytes`;
  if (quality === undefined) return size;
  const { kl, ratio, sameTop } = quality;
  return (
    `${size}, KL ${kl.mean.toFixed(6)} [${kl.low.toFixed(6)}-${kl.high.toFixed(6)}], ` +
    `same top ${(100 * sameTop).toFixed(2)} %, ${ratio.mean.toFixed(3)} of the mix's [${ratio.low.toFixed(3)}-` +
    `${ratio.high.toFixed(3)}]`
  );
}

function typesText(choices: readonly Choice[], found: Assignment): string {
  const counts = new Map<string, Map<string, number>>();
  for (const [i, { planned }] of choices.entries()) {
    const role = planned.tensor.name.replace(/^blk\.\d+\./, "").replace(/\.weight$/, "");
    const own = counts.get(role) ?? new Map<string, number>();
    counts.set(role, own);
    const { name } = found[i]!.dtype;
    own.set(name, (own.get(name) ?? 0) + 1);
  }
  return [...counts]
    .map(([role, types]) => `${role}: ${[...types].map(([type, n]) => `${n} ${type}`).join(", ")}`)
    .join("\n");
}
