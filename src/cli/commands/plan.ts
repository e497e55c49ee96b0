/**
 * `plan MODEL`: what would happen, before anything is loaded; from a file's header, a preset or a number of parameters.
 */
import type { Command } from "commander";
import { parseMix } from "../../compress/mix.js";
import { openAdapter, openCheckpoint } from "../../containers/index.js";
import type { AdapterOption } from "../../engine/options.js";
import { choosePlanner } from "../../engine/resources.js";
import { HundredweightError } from "../../errors.js";
import type { Checkpoint } from "../../formats/types.js";
import { describeModel, type ModelDescription, withAdapters } from "../../models/index.js";
import { loadAddon } from "../../native/addon.js";
import type { KvCacheType } from "../../ops/ops.js";
import { pastBufferBytes } from "../../past/buffers.js";
import { modelOrPreset } from "../../store/model-word.js";
import { parseSpec, presets } from "../../synth/presets.js";
import { representativeShape } from "../../synth/representative.js";
import { layOutSynth, synthCheckpoint } from "../../synth/synth.js";
import type { MachineProfile } from "../../weights/machine.js";
import { memoryLimit, overCeiling } from "../../weights/memory-limit.js";
import { type Plan, Planner, type PlanOptions } from "../../weights/plan.js";
import { advise } from "../../weights/plan-advice.js";
import { defaultContextTokens } from "../../weights/plan-defaults.js";
import { predictDrafts } from "../../weights/plan-drafts.js";
import { knownMachine, type ProbedMachine, probeAllowed } from "../../weights/probe.js";
import { type HardwareProfile, parseProfile, profileExamples } from "../../weights/profiles.js";
import { openResidency } from "../../weights/residency.js";
import { kvMemoryOption, kvOption } from "../options/kv-option.js";
import { loraOption } from "../options/model-options.js";
import { parseBytes, parseInteger } from "../options/options.js";
import { pastOptions } from "../options/past-options.js";
import { measureFirst, noProbe } from "../options/probe-first.js";
import { profileDocument, profileHead, profileRows, profileTable } from "../reports/plan-profile.js";
import { countsTexts, guessed, planDocument, planTable, type RateSources } from "../reports/plan-report.js";
import { printColoured, printJson } from "../terminal/output.js";

interface PlanFlags {
  readonly params?: number;
  readonly active?: number;
  readonly quant?: string;
  readonly preset?: string;
  readonly memory?: number;
  readonly weightsMemory?: number;
  readonly ring?: number;
  readonly checkpoints?: number;
  readonly ctx?: number;
  readonly kv?: KvCacheType;
  readonly kvMemory?: number;
  readonly rows?: number;
  readonly sequences?: number;
  readonly diskRate?: number;
  readonly memoryRate?: number;
  readonly gemmRate?: number;
  readonly threads?: number;
  readonly lora?: AdapterOption[];
  readonly profile?: HardwareProfile;
  readonly probe?: boolean;
  readonly json?: boolean;
}

export function register(program: Command): void {
  const count = (name: string, most: number) => (t: string) => parseInteger(t, name, 1, most);
  const rate = (name: string) => (t: string) => positive(parseBytes(t.replace(/\/s$/, ""), name), t, name);
  const size = (name: string) => (t: string) => positive(parseBytes(t, name), t, name);
  program
    .command("plan")
    .description("Show before loading: does it fit, what is pinned and what streamed, how fast, what would help.")
    .argument("[model]", "a GGUF file, only its header is read; or a preset of `synth`")
    .option("--params <n>", "instead of a file: a model of this many parameters, e.g. 100B", (t) =>
      parseParameters(t, "--params"),
    )
    .option("--active <n>", "with --params: parameters used by a token (mixture of experts)", (t) =>
      parseParameters(t, "--active"),
    )
    .option("--preset <spec>", "instead of a file: a model of `synth`")
    .option("--quant <mix>", "with --params or --preset: quantization (default Q4_K_M or the preset's)")
    .option("--memory <size>", "memory budget (default: what is free)", size("--memory"))
    .option("--weights-memory <size>", "pinned weights and ring only (tests)", size("--weights-memory"))
    .option("--ring <size>", "streaming buffer", size("--ring"))
    .option("--checkpoints <size>", "memory for states of earlier positions", size("--checkpoints"))
    .option("--ctx <tokens>", "context (default: what fits)", count("--ctx", 2 ** 27))
    .option(...kvOption)
    .option(...kvMemoryOption)
    .option("--rows <n>", "most token rows of a pass", count("--rows", 65536))
    .option("--sequences <n>", "conversations held at once", count("--sequences", 1024))
    .option("--disk-rate <size>", "bytes per second, e.g. 2.5GB", rate("--disk-rate"))
    .option("--memory-rate <size>", "bytes per second, all threads", rate("--memory-rate"))
    .option("--gemm-rate <n>", "operations per second of products of many rows, e.g. 200GB", rate("--gemm-rate"))
    .option("--threads <n>", "compute threads", count("--threads", 1024))
    .option(...loraOption)
    .option(
      "--profile <name>",
      `a machine one does not sit at: ${profileExamples}; alone, many models on it`,
      parseProfile,
    )
    .option(...noProbe)
    .option("--json", "one JSON document on stdout")
    .action(async (word: string | undefined, given: PlanFlags) => {
      const { profile } = given;
      if (profile !== undefined && [word, given.params, given.preset].every((each) => each === undefined)) {
        const rows = profileRows(profile, { contextTokens: defaultContextTokens, ...optionsOf(given) });
        if (given.json) printJson({ profile: profileDocument(profile), models: rows });
        else printColoured(profileTable(profile, rows));
        return;
      }
      const meant = word === undefined ? undefined : modelOrPreset(word, Object.keys(presets));
      if (meant !== undefined && "preset" in meant && given.preset !== undefined) throw onlyOne();
      const model = meant !== undefined && "path" in meant ? meant.path : undefined;
      const flags = meant !== undefined && "preset" in meant ? { ...given, preset: meant.preset } : given;
      const checkpoint = await subject(model, flags);
      const adapters = (flags.lora ?? []).map(({ path }) => openAdapter(path, checkpoint));
      const description = withAdapters(describeModel(checkpoint), adapters);
      // On paper a context that nobody asked for must not take an accelerator's memory.
      const usual = Math.min(defaultContextTokens, description.config.contextTokens);
      const options = {
        ...(profile !== undefined && { contextTokens: usual }),
        ...optionsOf(flags),
        textProcess: countsTexts(checkpoint),
        ...(pastOptions({}).pastStore !== undefined && { pastBytes: pastBufferBytes }),
      };
      const known =
        profile === undefined
          ? await ratesFor(description, options, model, flags)
          : { cpu: undefined, disk: undefined, learned: undefined, notes: [], profile: profile.machine };
      const machine = machineOf(known, flags);
      const sources = sourcesOf(known, flags, profile === undefined ? guessed : "of the data sheet");
      const planner = choosePlanner(description, machine, options);
      const budgetBytes = options.budgetBytes ?? machine.availableBytes;
      const ioOf = (made: Plan) =>
        openResidency(planner.model, made, { way: known.disk, stays: (flags.sequences ?? 1) > 1 }).io;
      const found = planner.tryPlan(budgetBytes);
      const plan = profile === undefined ? noted(found, budgetBytes) : found;
      const onPaper = profile && profileDocument(profile, planner, plan);
      const minimumBudgetBytes = planner.minimumBudgetBytes();
      if (flags.json) {
        const advice = plan === undefined ? [] : advise(description, machine, options, plan);
        const io = plan && ioOf(plan);
        const { program } = description;
        const drafts =
          plan && program.outputs.logits !== undefined ? predictDrafts(planner.model, machine, plan) : undefined;
        printJson({
          ...planDocument(plan, budgetBytes, minimumBudgetBytes, advice, drafts),
          ...(io && { io }),
          ...(onPaper && { profile: onPaper }),
          machine,
          sources,
        });
        if (plan === undefined) process.exitCode = 1;
        return;
      }
      const made = plan ?? planner.plan(budgetBytes); // throws MEMORY_BUDGET
      const advice = advise(description, machine, options, made);
      if (profile !== undefined) printColoured(profileHead(profile, planner, made));
      printColoured(planTable(checkpoint, planner, made, ioOf(made), minimumBudgetBytes, advice, sources));
    });
}

/** A plan may be for another machine; here a larger budget is refused. */
function noted(plan: Plan | undefined, budgetBytes: number): Plan | undefined {
  const fault = overCeiling(budgetBytes, memoryLimit());
  if (plan === undefined || fault === undefined) return plan;
  return { ...plan, notes: [...plan.notes, `on this machine run, chat and serve refuse it: ${fault}`] };
}

/** The machine as it is remembered. Rates that matter here and were never measured are measured now, once. */
async function ratesFor(
  description: ModelDescription,
  options: PlanOptions,
  model: string | undefined,
  flags: PlanFlags,
): Promise<ProbedMachine> {
  // A model without a file would lie here.
  const where = { path: model ?? process.cwd(), ...(flags.threads !== undefined && { threads: flags.threads }) };
  const known = knownMachine(where);
  if (flags.probe === false || !probeAllowed() || loadAddon() === undefined) return known;
  const plan = new Planner(description, known.profile, options).tryPlan(
    options.budgetBytes ?? known.profile.availableBytes,
  );
  const disk = known.disk === undefined && flags.diskRate === undefined && plan?.strategy !== "resident";
  const cpu = known.cpu === undefined && (flags.memoryRate === undefined || flags.gemmRate === undefined);
  return plan !== undefined && (disk || cpu) ? measureFirst({ ...where, disk }) : known;
}

async function subject(model: string | undefined, flags: PlanFlags): Promise<Checkpoint> {
  const given = [model, flags.params, flags.preset].filter((value) => value !== undefined);
  if (given.length !== 1) throw onlyOne();
  if (model !== undefined) return openCheckpoint(model);
  const quant = flags.quant === undefined ? undefined : parseMix(flags.quant);
  if (flags.preset !== undefined) {
    const { name, shape } = parseSpec(flags.preset);
    return synthCheckpoint(layOutSynth(name, shape, quant ?? shape.quant));
  }
  const shape = representativeShape(flags.params!, flags.active, quant ?? "Q4_K_M");
  return synthCheckpoint(layOutSynth("representative", shape));
}

const onlyOne = () =>
  new HundredweightError("OPTION_INVALID", "give one of a model file or preset, --params and --preset");

/** `100B`, `7.5b`, `135M`, `1.2T` -> a number of parameters. */
function parseParameters(text: string, option: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*([MBT])$/i.exec(text.trim());
  const unit = { M: 1e6, B: 1e9, T: 1e12 }[(match?.[2] ?? "").toUpperCase()];
  const value = Number(match?.[1]) * (unit ?? Number.NaN);
  if (!(value > 0 && value <= 1e13))
    throw new HundredweightError("OPTION_INVALID", `${option}: '${text}' is not a size like 70B or 135M`);
  return value;
}

function positive(value: number, text: string, option: string): number {
  if (value < 1) throw new HundredweightError("OPTION_INVALID", `${option}: '${text}' is not more than nothing`);
  return value;
}

function machineOf(known: ProbedMachine, flags: PlanFlags): MachineProfile {
  return {
    ...known.profile,
    ...(flags.diskRate !== undefined && {
      diskReadBytesPerSecond: flags.diskRate,
      diskFirstTouchBytesPerSecond: flags.diskRate,
    }),
    ...(flags.memoryRate !== undefined && { memoryReadBytesPerSecond: flags.memoryRate }),
    ...(flags.gemmRate !== undefined && { gemmOpsPerSecond: flags.gemmRate }),
  };
}

function sourcesOf({ cpu, disk, learned }: ProbedMachine, flags: PlanFlags, unknown: string): RateSources {
  const source = (given: number | undefined, measured: { readonly measuredAt: string } | undefined) => {
    if (given !== undefined) return "given";
    return measured === undefined ? unknown : `measured on ${measured.measuredAt.slice(0, 10)}`;
  };
  return {
    disk: source(flags.diskRate, disk),
    memory:
      flags.memoryRate === undefined && learned !== undefined
        ? `as this model's passes had it on ${learned.measuredAt.slice(0, 10)}`
        : source(flags.memoryRate, cpu),
    gemm: source(flags.gemmRate, cpu),
  };
}

function optionsOf(flags: PlanFlags): PlanOptions {
  return {
    ...(flags.memory !== undefined && { budgetBytes: flags.memory }),
    ...(flags.weightsMemory !== undefined && { weightsMemoryBytes: flags.weightsMemory }),
    ...(flags.ring !== undefined && { ringBytes: flags.ring }),
    ...(flags.checkpoints !== undefined && { checkpointBytes: flags.checkpoints }),
    ...(flags.ctx !== undefined && { contextTokens: flags.ctx }),
    ...(flags.kv !== undefined && { kvType: flags.kv }),
    ...(flags.kvMemory !== undefined && { kvMemoryBytes: flags.kvMemory }),
    ...(flags.rows !== undefined && { rows: flags.rows }),
    ...(flags.sequences !== undefined && { sequences: flags.sequences }),
  };
}
