/** `hundredweight bench MODEL`: prefill and decode speed by a fixed protocol. */
import { mkdtempSync, rmSync, statfsSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { Command } from "commander";
import { HundredweightError } from "../../errors.js";
import type { Model } from "../../library/model.js";
import { joulesBetween, readEnergy } from "../../process/energy.js";
import { modelOrPreset } from "../../store/model-word.js";
import { addModelOptions, loadOptions, type ModelFlags } from "../options/model-options.js";
import { parseInteger } from "../options/options.js";
import {
  addProfileOption,
  finishProfile,
  type ProfileFlags,
  profileOptions,
  profileTable,
} from "../reports/profile-report.js";
import { median, type Rates, summarizeRates } from "../reports/statistics.js";
import { withInterrupt } from "../terminal/interrupt.js";
import { loadShown } from "../terminal/loading.js";
import { formatBytes, printColoured, printJson, printText, standardOutput, tell } from "../terminal/output.js";
import { Progress } from "../terminal/progress.js";
import { type Cell, table } from "../terminal/table.js";
import { TokenProgress } from "../terminal/token-progress.js";

interface BenchFlags extends ModelFlags, ProfileFlags {
  prompt: number;
  decode: number;
  depth: number;
  repetitions: number;
}

type Series = Rates & { readonly tokens: number };

export function register(program: Command): void {
  const command = program
    .command("bench")
    .description("Measure prefill and decode: pseudo-random tokens, empty cache, one warm-up run, medians and spread.")
    .argument("<model>", "a GGUF file; or a preset of `synth`, written to TMPDIR and removed again")
    .option("-p, --prompt <rows>", "prompt rows", (t) => parseInteger(t, "--prompt", 0, 2 ** 20), 512)
    .option("-n, --decode <tokens>", "single-row passes", (t) => parseInteger(t, "--decode", 0, 2 ** 20), 128)
    .option("-d, --depth <tokens>", "a past before both", (t) => parseInteger(t, "--depth", 0, 2 ** 24), 0)
    .option("-r, --repetitions <n>", "runs that count", (t) => parseInteger(t, "--repetitions", 1, 1000), 3);
  addProfileOption(addModelOptions(command)).action((model: string, flags: BenchFlags) => bench(model, flags));
}

async function bench(word: string, flags: BenchFlags): Promise<void> {
  const { presets } = await import("../../synth/presets.js");
  const meant = modelOrPreset(word, Object.keys(presets));
  if ("path" in meant) return measure(meant.path, flags);
  const folder = mkdtempSync(join(tmpdir(), "hundredweight-bench-"));
  try {
    const path = join(folder, "random.gguf");
    await writePreset(meant.preset, path, flags.progress);
    await measure(path, flags);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** @throws FILE_IO when the disk has no room for it */
async function writePreset(spec: string, path: string, forced = false): Promise<void> {
  const [{ layOutSynth, writeSynth }, { parseSpec }] = await Promise.all([
    import("../../synth/synth.js"),
    import("../../synth/presets.js"),
  ]);
  const { name, shape } = parseSpec(spec);
  const model = layOutSynth(name, shape, shape.quant);
  const { bavail, bsize } = statfsSync(dirname(path));
  if (bavail * bsize < model.tensorBytes)
    throw new HundredweightError(
      "FILE_IO",
      `${dirname(path)}: a random ${name} takes ${formatBytes(model.tensorBytes)}, ` +
        `${formatBytes(bavail * bsize)} are free; ` +
        "set TMPDIR to a folder with room",
    );
  tell(
    `${name}: a random model of that shape, ${model.quant}, ${formatBytes(model.tensorBytes)}, is written to ${path}`,
  );
  const progress = new Progress("writing", { forced, bytes: true });
  await withInterrupt((signal) =>
    writeSynth(path, model, {
      signal,
      onProgress: (done, total) => progress.update(done, total),
    }),
  ).finally(() => progress.end());
}

async function measure(path: string, flags: BenchFlags): Promise<void> {
  await withInterrupt(async (signal) => {
    const began = performance.now();
    const contextTokens = flags.ctx ?? flags.depth + Math.max(1, flags.prompt, flags.decode);
    const options = { ...loadOptions(flags), ...profileOptions(flags), contextTokens, logitRows: 1, stays: true };
    const model = await loadShown(path, options, flags.progress);
    const loadMs = performance.now() - began;
    const prefill: number[] = [];
    const decode: number[] = [];
    const joules: number[] = [];
    const { depth } = flags;
    try {
      const progress = new BenchProgress(model, flags);
      try {
        for (let run = 0; run <= flags.repetitions; run++) {
          const energy = readEnergy();
          const { prefillMs, decodeMs } = await model.measure(flags.prompt, flags.decode, { signal, depth });
          const used = joulesBetween(energy, readEnergy());
          progress.ran();
          if (run === 0) {
            // Warm-up: page cache, frequency, JIT.
            if (flags.profile !== undefined) await model.profile();
            continue;
          }
          if (used !== undefined) joules.push(used);
          if (flags.prompt > 0) prefill.push((1000 * flags.prompt) / prefillMs);
          if (flags.decode > 0) decode.push((1000 * flags.decode) / decodeMs);
        }
      } finally {
        progress.end();
      }
      const { info } = model;
      const profile = await finishProfile(model, flags, flags.threads);
      const decodeSeries = series(flags.decode, decode);
      const document = {
        model: info.path,
        architecture: info.architecture,
        ops: info.ops,
        kvType: info.kvType,
        chunkRows: info.chunkRows,
        depth,
        threads: flags.threads ?? null,
        weightBytes: info.weightBytes,
        passWeightBytes: info.passWeightBytes,
        loadMs,
        prefill: series(flags.prompt, prefill),
        decode: decodeSeries,
        decodeGBps: decodeSeries === null ? null : (decodeSeries.medianTps * info.passWeightBytes) / 1e9,
        // Of a run, prefill and decode together; null where the system does not let it be read.
        joulesPerRun: joules.length === 0 ? null : median(joules),
        ...(profile !== undefined && { profile }),
      };
      if (flags.json) printJson(document);
      else {
        print(document);
        if (profile !== undefined) printText(`\n${profileTable(profile)}`);
      }
    } finally {
      await model.close();
    }
  });
}

/** Tokens of all runs, the warm-up included; a run takes as long as the mean of those before it. */
class BenchProgress {
  readonly end: () => void;
  private runs = 0;
  /** Tokens of the run that is on, by the engine's counters. */
  private counted = 0;
  private before = 0;

  constructor(model: Model, { prompt, decode, repetitions, progress: forced }: BenchFlags) {
    const perRun = prompt + decode;
    const total = repetitions + 1;
    const unwatch = model.watch(({ promptTokens, generatedTokens }) => {
      this.counted = promptTokens + generatedTokens;
    });
    const progress = new TokenProgress(
      "",
      () => {
        const tokens = this.runs * perRun + Math.min(perRun, this.counted - this.before);
        return { done: this.runs, total, tokens, tokensLeft: this.runs === 0 ? undefined : total * perRun - tokens };
      },
      { forced },
    );
    this.end = () => {
      progress.end();
      unwatch();
    };
  }

  ran(): void {
    this.runs++;
    this.before = this.counted;
  }
}

function print(document: {
  ops: string;
  prefill: Series | null;
  decode: Series | null;
  decodeGBps: number | null;
  joulesPerRun: number | null;
}): void {
  const row = (name: string, s: Series | null, note = ""): Cell[][] => {
    if (s === null) return [];
    const spread = `(${s.minTps.toFixed(1)}-${s.maxTps.toFixed(1)})`;
    return [[name, `${s.tokens} tokens`, `${s.medianTps.toFixed(1)} tok/s`, spread, { text: note, colour: "dim" }]];
  };
  const rows = [
    ...row("prefill", document.prefill),
    ...row("decode", document.decode, `${document.decodeGBps?.toFixed(2)} GB/s of weights`),
  ];
  printText(`${document.ops}\n`);
  printColoured(table([{}, { align: "right" }, { align: "right" }, {}, {}], rows, standardOutput()));
  if (document.joulesPerRun !== null) printText(`${document.joulesPerRun.toFixed(1)} J of the processor a run\n`);
}

function series(tokens: number, runs: readonly number[]): Series | null {
  return runs.length === 0 ? null : { tokens, ...summarizeRates(runs) };
}
