/** `synth SPEC OUT.gguf`: a random model of a real shape, as fast as the disk takes it. */
import type { Command } from "commander";
import { mixes, parseMix } from "../../compress/mix.js";
import { HundredweightError } from "../../errors.js";
import { folderKinds } from "../../synth/folder/kinds.js";
import { parseFolderKind, writeSynthFolder } from "../../synth/folder/write.js";
import { parseSpec, presets } from "../../synth/presets.js";
import { type Overrides, overrideNames, withOverrides } from "../../synth/shape.js";
import {
  layOutSynth,
  type SynthModel,
  type SynthOptions,
  type WriteSynthOptions,
  writeSynth,
} from "../../synth/synth.js";
import { parseInteger, parseNumber } from "../options/options.js";
import { withInterrupt } from "../terminal/interrupt.js";
import { formatBytes, printJson, printText, tell } from "../terminal/output.js";
import { Progress } from "../terminal/progress.js";

interface SynthFlags {
  readonly preset?: string;
  readonly quant?: string;
  readonly folder?: string;
  readonly seed?: number;
  readonly routerSkew?: number;
  readonly progress?: boolean;
  readonly json?: boolean;
  readonly [override: string]: unknown;
}

export function register(program: Command): void {
  const command = program
    .command("synth")
    .description(
      "Write a random model of a real shape, to try a machine before the download. It loads everywhere and " +
        "says nothing.",
    )
    .argument("<spec>", `PRESET[,name=number...], a preset or an architecture: ${Object.keys(presets).join(", ")}`)
    .argument("[out]", "GGUF file or folder to write; with --preset it is the only argument")
    .option("--preset <name>", "the same as <spec>")
    .option("--quant <mix>", `types as llama-quantize gives them: ${mixes.join(", ")}`)
    .option("--folder <kind>", `a Hugging Face folder instead of a GGUF file: ${Object.keys(folderKinds).join(", ")}`)
    .option("--router-skew <s>", "popularity of experts falls like 1 / rank^s; 0 = flat", (t) =>
      parseNumber(t, "--router-skew", 0, 4),
    )
    .option("--seed <n>", "other numbers", (t) => parseInteger(t, "--seed", 0, 2 ** 31 - 1))
    .option("--progress", "show progress also when stderr is no terminal")
    .option("--json", "one JSON document on stdout");
  for (const name of overrideNames)
    command.option(`--${name} <n>`, `replaces the preset's`, (t) => parseInteger(t, `--${name}`, 0, 1e9));
  command.action((first: string, second: string | undefined, flags: SynthFlags) => synth(first, second, flags));
}

async function synth(first: string, second: string | undefined, flags: SynthFlags): Promise<void> {
  const [text, path] = flags.preset === undefined ? [first, second] : [flags.preset, first];
  if (path === undefined || (flags.preset !== undefined && second !== undefined))
    throw new HundredweightError("OPTION_INVALID", "give SPEC and OUT.gguf, or --preset NAME and OUT.gguf");
  const kind = flags.folder;
  if (kind !== undefined) {
    parseFolderKind(kind);
    for (const [option, value] of [["--quant", flags.quant] as const, ["--router-skew", flags.routerSkew] as const])
      if (value !== undefined)
        throw new HundredweightError("OPTION_INVALID", `${option} goes with GGUF files; --folder has its own kinds`);
  }
  const parsed = parseSpec(text);
  const shape = withOverrides(parsed.shape, overridesOf(flags));
  const model = layOutSynth(parsed.name, shape, flags.quant === undefined ? shape.quant : parseMix(flags.quant));
  if (!flags.json)
    tell(
      `${parsed.name}: ${(model.parameters / 1e9).toFixed(2)} billion parameters, ` +
        (kind === undefined ? `${model.quant}, ${formatBytes(model.tensorBytes)}` : kind),
    );
  const began = performance.now();
  const progress = new Progress("writing", { forced: flags.progress, bytes: true });
  const bytes = await withInterrupt((signal) =>
    write(path, model, kind, {
      signal,
      ...(flags.seed !== undefined && { seed: flags.seed }),
      ...(flags.routerSkew !== undefined && { routerSkew: flags.routerSkew }),
      onProgress: (done, total) => progress.update(done, total),
    }),
  ).finally(() => progress.end());
  const seconds = (performance.now() - began) / 1000;
  const { parameters } = model;
  const quant = kind ?? model.quant;
  if (flags.json) {
    printJson({ path, architecture: shape.arch, quant, parameters, bytes, seconds, bytesPerSecond: bytes / seconds });
  } else {
    const rate = `${(bytes / seconds / 1e9).toFixed(2)} GB/s`;
    printText(`${path}: ${formatBytes(bytes)} in ${seconds.toFixed(1)} s (${rate}, on the disk)\n`);
  }
}

const write = (
  path: string,
  model: SynthModel,
  kind: string | undefined,
  options: SynthOptions & WriteSynthOptions,
): Promise<number> =>
  kind === undefined ? writeSynth(path, model, options) : writeSynthFolder(path, model, kind, options);

/** Flags such as --kv-heads arrive as kvHeads. */
function overridesOf(flags: SynthFlags): Overrides {
  const given: Record<string, number> = {};
  for (const name of overrideNames) {
    const value = flags[name.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase())];
    if (typeof value === "number") given[name] = value;
  }
  return given;
}
