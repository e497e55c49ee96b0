/** Options of every command that loads a model, and how they become engine options. */
import { existsSync } from "node:fs";
import type { Command } from "commander";
import type { DraftMode } from "../../engine/drafts/drafter.js";
import { type AdapterOption, type IoMode, ioModes, type NumaMode, numaModes } from "../../engine/options.js";
import { mostAnswerRows } from "../../engine/task.js";
import { HundredweightError } from "../../errors.js";
import type { LoadOptions } from "../../library/model.js";
import type { KvCacheType } from "../../ops/ops.js";
import { modelFile } from "../../store/model-word.js";
import { kvMemoryOption, kvOption } from "./kv-option.js";
import { parseBytes, parseChoice, parseInteger, parseNumber } from "./options.js";
import { type WhenFullFlags, whenFullOption } from "./when-full-option.js";

export interface ModelFlags extends WhenFullFlags {
  ctx?: number;
  kv?: KvCacheType;
  kvMemory?: number;
  memory?: number;
  threads?: number;
  threadsBatch?: number;
  numa?: NumaMode;
  cpuList?: number[];
  chunk?: number;
  io?: IoMode;
  lora?: AdapterOption[];
  ring?: number;
  checkpoints?: number;
  draft?: DraftMode;
  draftModel?: string;
  weightsMemory?: number;
  ops?: "native" | "reference";
  progress?: boolean;
  json?: boolean;
}

/** Four tiles of 256 KiB: the least a ring works with. */
const leastRing = 2 ** 20;

/** Once for each adapter. */
export const loraOption = [
  "--lora <file[:scale]>",
  "an adapter: a GGUF file or a folder of PEFT; several are added in their order",
  (text: string, before: AdapterOption[] = []): AdapterOption[] => [...before, parseAdapter(text)],
] as const;

export function addModelOptions(command: Command): Command {
  return command
    .option("--ctx <tokens>", "context: prompt and answer together", (t) => parseInteger(t, "--ctx", 1, 2 ** 27))
    .option(...kvOption)
    .option(...kvMemoryOption)
    .option("--memory <size>", "memory budget, e.g. 10GiB (default: what is free)", (t) => atLeast(t, "--memory", 1))
    .option("--threads <n>", "compute threads (default: physical cores)", (t) => parseInteger(t, "--threads", 1, 1024))
    .option("--threads-batch <n>", "compute threads of passes of several rows (default: --threads)", (t) =>
      parseInteger(t, "--threads-batch", 1, 1024),
    )
    .option("--numa <mode>", "threads and weights by memory node: distribute, isolate, numactl", (t) =>
      parseChoice(t, "--numa", numaModes),
    )
    .option("--cpu-list <list>", "bind threads to CPUs, e.g. 0-3,6", parseCpuList)
    .option("--chunk <rows>", "most token rows of a pass", (t) => parseInteger(t, "--chunk", 1, 65536))
    .option("--io <mode>", "how weights are read: auto, mmap, direct, buffered", (t) => parseChoice(t, "--io", ioModes))
    .option(...loraOption)
    .option("--ring <size>", "streaming buffer", (t) => atLeast(t, "--ring", leastRing))
    .option("--checkpoints <size>", "memory for states of earlier positions, of models that cannot go back", (t) =>
      parseBytes(t, "--checkpoints"),
    )
    .option("--draft <rows>", "guess tokens ahead: auto, off, or always so many (default: auto)", parseDraft)
    .option("--draft-model <model>", "a small model of the same vocabulary that guesses for this one")
    .option("--weights-memory <size>", "pinned weights and ring only (tests)", (t) => atLeast(t, "--weights-memory", 1))
    .option("--ops <kind>", "native, or reference: plain TypeScript, slow", (t) =>
      parseChoice(t, "--ops", ["native", "reference"]),
    )
    .option("--progress", "show progress also when stderr is no terminal")
    .option("--json", "one JSON document on stdout");
}

export function loadOptions(flags: ModelFlags): LoadOptions {
  const whenFull = whenFullOption(flags);
  return {
    ...(whenFull !== undefined && { whenFull }),
    ...(flags.ctx !== undefined && { contextTokens: flags.ctx }),
    ...(flags.kv !== undefined && { kvType: flags.kv }),
    ...(flags.kvMemory !== undefined && { kvMemoryBytes: flags.kvMemory }),
    ...(flags.memory !== undefined && { memoryBytes: flags.memory }),
    ...(flags.threads !== undefined && { threads: flags.threads }),
    ...(flags.threadsBatch !== undefined && { threadsBatch: flags.threadsBatch }),
    ...(flags.numa !== undefined && { numa: flags.numa }),
    ...(flags.cpuList !== undefined && { cpuList: flags.cpuList }),
    ...(flags.chunk !== undefined && { chunkRows: flags.chunk }),
    ...(flags.io !== undefined && { io: flags.io }),
    ...(flags.lora !== undefined && { adapters: flags.lora }),
    ...(flags.ring !== undefined && { ringBytes: flags.ring }),
    ...(flags.checkpoints !== undefined && { checkpointBytes: flags.checkpoints }),
    ...(flags.draft !== undefined && { drafts: flags.draft }),
    ...(flags.draftModel !== undefined && { draftModel: modelFile(flags.draftModel) }),
    ...(flags.weightsMemory !== undefined && { weightsMemoryBytes: flags.weightsMemory }),
    ...(flags.ops !== undefined && { ops: flags.ops }),
  };
}

/** `adapter.gguf:0.5`. A path that is there is taken whole, whatever it ends with. */
export function parseAdapter(text: string): AdapterOption {
  const [, path, scale] = /^(.+):([-+\d.eE]+)$/.exec(text) ?? [];
  if (path === undefined || existsSync(text)) return { path: text };
  return { path, scale: parseNumber(scale!, "--lora", -1e6, 1e6) };
}

const parseDraft = (text: string): DraftMode =>
  text === "auto" || text === "off" ? text : parseInteger(text, "--draft", 0, mostAnswerRows - 1);

/** `0-3,6` -> [0, 1, 2, 3, 6]. */
export function parseCpuList(text: string): number[] {
  const cpus = new Set<number>();
  for (const part of text.split(",")) {
    const match = /^\s*(\d{1,5})(?:-(\d{1,5}))?\s*$/.exec(part);
    const from = Number(match?.[1]);
    const to = Number(match?.[2] ?? match?.[1]);
    if (!match || to < from) {
      throw new HundredweightError("OPTION_INVALID", `--cpu-list: '${text}' is not a list like 0-3,6`);
    }
    for (let cpu = from; cpu <= to; cpu++) cpus.add(cpu);
  }
  return [...cpus].sort((a, b) => a - b);
}

function atLeast(text: string, option: string, least: number): number {
  const bytes = parseBytes(text, option);
  if (bytes < least) throw new HundredweightError("OPTION_INVALID", `${option}: '${text}' is less than ${least} bytes`);
  return bytes;
}
