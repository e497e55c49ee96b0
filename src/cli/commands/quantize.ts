/** `quantize IN OUT TYPE`: a GGUF file in other types, as llama-quantize makes it. */
import type { Command } from "commander";
import { readImportance } from "../../compress/importance.js";
import { mixes, parseMix } from "../../compress/mix.js";
import { planQuantize, type QuantizePlan, type QuantizeWishes } from "../../compress/quantize-model.js";
import { parseType } from "../../compress/type-plan.js";
import { quantizeFolder, writeQuantized } from "../../convert/index.js";
import { HundredweightError } from "../../errors.js";
import { type Dtype, openGguf } from "../../formats/index.js";
import { requireAddon } from "../../native/addon.js";
import { defaultThreads } from "../../native/threads.js";
import { modelFile } from "../../store/model-word.js";
import { type FolderFlags, folderQuantization, withFolderOptions } from "../options/folder-method.js";
import { momentsOf } from "../options/moments-option.js";
import { parseBytes, parseChoice, parseInteger } from "../options/options.js";
import { refuseSelf } from "../options/own-input.js";
import { planDocumentOf, planTextOf } from "../reports/quantize-report.js";
import { withInterrupt } from "../terminal/interrupt.js";
import { formatBytes, printJson, printText, tell } from "../terminal/output.js";
import { Progress } from "../terminal/progress.js";

interface QuantizeFlags extends FolderFlags {
  readonly imatrix?: string;
  readonly tensorType: readonly { readonly pattern: RegExp; readonly dtype: Dtype }[];
  readonly outputTensorType?: Dtype;
  readonly tokenEmbeddingType?: Dtype;
  readonly leaveOutputTensor?: boolean;
  readonly pure?: boolean;
  readonly requantize?: boolean;
  readonly allowRequantize?: boolean;
  readonly keepSplit?: boolean;
  readonly dryRun?: boolean;
  readonly quality?: string;
  readonly memory?: number;
  readonly progress?: boolean;
  readonly json?: boolean;
}

export function register(program: Command): void {
  const type = (option: string) => (text: string) => parseType(text, option);
  const command = program
    .command("quantize")
    .description("Write a GGUF model in other types: llama-quantize's mixes, types a tensor, and bytes.")
    .argument("<in>", "a GGUF file or any shard of a split one, in F32, F16 or BF16")
    .argument("<out>", "GGUF file to write; with --dry-run it can be left out")
    .argument("[type]", `a mix or a type: ${mixes.join(", ")}`)
    .option("--imatrix <file>", "importance of the columns, GGUF or .dat, as llama-imatrix or `calibrate` writes it")
    .option(
      "--tensor-type <regex=type>",
      "the type of tensors whose name has a match; the first of several options that matches decides",
      namedType,
      [],
    )
    .option("--output-tensor-type <type>", "the type of output.weight", type("--output-tensor-type"))
    .option("--token-embedding-type <type>", "the type of the token embedding", type("--token-embedding-type"))
    .option("--leave-output-tensor", "output.weight stays as it is")
    .option("--pure", "all of one type, without the rules of the mix")
    .option("--requantize", "take a model that is quantized already; the damage of both adds up")
    .option("--allow-requantize", "the same as --requantize")
    .option("--keep-split", "as many files as the model has")
    .option("--dry-run", "write nothing: types, exact size, and how the result would run on this machine")
    .option("--moments <file>", "moments of inputs, as `calibrate` writes them; found beside --imatrix")
    .option(
      "--quality <name>",
      "stock: llama.cpp's searches, byte for byte; best: codes chosen with error feedback (default with moments)",
      (t) => parseChoice(t, "--quality", ["stock", "best"]),
    )
    .option(
      "--memory <size>",
      "memory that error feedback may take; with less, fewer columns are seen together, so the bytes follow from it " +
        "(default: 6GiB)",
      (t) => parseBytes(t, "--memory"),
    )
    .option("--threads <n>", "compute threads", (t) => parseInteger(t, "--threads", 1, 1024))
    .option("--progress", "show progress also when stderr is no terminal")
    .option("--json", "one JSON document on stdout")
    .action((from: string, to: string, mix: string | undefined, flags: QuantizeFlags) =>
      quantize(from, to, mix, flags),
    );
  withFolderOptions(command);
}

/** `attn_v=q6_k`; the name of the type is behind the last equals sign. */
function namedType(text: string, before: QuantizeFlags["tensorType"]): QuantizeFlags["tensorType"] {
  const at = text.lastIndexOf("=");
  if (at < 1) throw new HundredweightError("OPTION_INVALID", `--tensor-type: '${text}' is not regex=type`);
  const dtype = parseType(text.slice(at + 1), "--tensor-type");
  try {
    return [...before, { pattern: new RegExp(text.slice(0, at).toLowerCase()), dtype }];
  } catch (cause) {
    const message = `--tensor-type: '${text.slice(0, at)}' is no regular expression`;
    throw new HundredweightError("OPTION_INVALID", message, {}, { cause });
  }
}

async function quantize(word: string, second: string, third: string | undefined, flags: QuantizeFlags): Promise<void> {
  if (flags.method !== undefined) return toFolder(word, second, third, flags);
  if (third === undefined && !flags.dryRun)
    throw new HundredweightError("OPTION_INVALID", "give IN, OUT and a type: quantize model.gguf small.gguf Q4_K_M");
  const [to, mix] = third === undefined ? [undefined, parseMix(second)] : [second, parseMix(third)];
  const checkpoint = openGguf(modelFile(word));
  const importance = flags.imatrix === undefined ? undefined : readImportance(flags.imatrix);
  const moments = momentsOf(flags);
  const wishes: QuantizeWishes = {
    mix,
    ...(moments && { moments }),
    ...(flags.memory !== undefined && { feedbackBytes: flags.memory }),
    named: flags.tensorType,
    ...(importance && { importance }),
    ...(flags.outputTensorType && { output: flags.outputTensorType }),
    ...(flags.tokenEmbeddingType && { embedding: flags.tokenEmbeddingType }),
    ...(flags.leaveOutputTensor && { keepOutput: true }),
    pure: flags.pure === true,
    requantize: flags.requantize === true || flags.allowRequantize === true,
    keepSplit: flags.keepSplit === true,
  };
  const plan = planQuantize(checkpoint, wishes);
  if (flags.dryRun) {
    if (flags.json) printJson(planDocumentOf(checkpoint, plan));
    else printText(planTextOf(checkpoint, plan));
    return;
  }
  refuseLacking(plan);
  requireAddon();
  refuseSelf(checkpoint, to!);
  if (!flags.json) for (const line of remarks(plan)) tell(line);
  const began = performance.now();
  const progress = new Progress("quantizing", { forced: flags.progress, bytes: true });
  const written = await withInterrupt((signal) =>
    writeQuantized(to!, plan, {
      threads: flags.threads ?? defaultThreads(),
      signal,
      onProgress: ({ tensor, bytes, totalBytes, work, totalWork }) =>
        progress.update(bytes, totalBytes, {
          facts: [tensor],
          leftMs: ((performance.now() - began) * (totalWork - work)) / work,
        }),
    }),
  ).finally(() => progress.end());
  const seconds = (performance.now() - began) / 1000;
  if (flags.json) return printJson({ ...planDocumentOf(checkpoint, plan), files: written, seconds });
  for (const { path, bytes, resumedBytes } of written) {
    const kept = resumedBytes === 0 ? "" : `, ${formatBytes(resumedBytes)} of it written before`;
    printText(`${path}: ${formatBytes(bytes)}${kept}\n`);
  }
  const bits = (8 * plan.bytes) / plan.values;
  printText(`${formatBytes(plan.sourceBytes)} became ${formatBytes(plan.bytes)} (${bits.toFixed(2)} bits a value) `);
  printText(`in ${seconds.toFixed(1)} s\n`);
}

/** IN is a folder of plain matrices, OUT the folder to make. */
async function toFolder(word: string, to: string, third: string | undefined, flags: QuantizeFlags): Promise<void> {
  if (third !== undefined) throw new HundredweightError("OPTION_INVALID", "--method takes the place of a type");
  const quantization = folderQuantization(flags);
  const began = performance.now();
  const progress = new Progress("quantizing", { forced: flags.progress, bytes: true });
  const plain: string[] = [];
  const done = await withInterrupt((signal) =>
    quantizeFolder(modelFile(word), to, {
      ...quantization,
      signal,
      onProgress: (bytes, total) => progress.update(bytes, total),
      onMatrix: (name, _, fed) => fed || plain.push(name),
    }),
  ).finally(() => progress.end());
  const seconds = (performance.now() - began) / 1000;
  if (flags.json) return printJson({ ...done, withoutMoments: plain.length, seconds });
  if (flags.moments !== undefined && plain.length > 0)
    tell(
      `${flags.moments} says nothing of ${plain.length} matrices, as '${plain[0]}': their codes are the nearest ones`,
    );
  printText(`${to}: ${done.matrices} matrices, ${formatBytes(done.bytes)} in ${seconds.toFixed(1)} s\n`);
}

function refuseLacking({ lacking, tensors }: QuantizePlan): void {
  const [first] = lacking;
  if (first === undefined) return;
  const type = tensors.find(({ tensor }) => tensor.name === first)!.to.name;
  throw new HundredweightError(
    "OPTION_INVALID",
    `'${first}' in ${type} is of no use without importance, and so are ${lacking.length - 1} others; ` +
      "give --imatrix FILE with an entry for each of them, or take IQ3_S, Q3_K or more",
    { tensors: lacking },
  );
}

function remarks({ tensors, unweighed, moments, feedbackBytes }: QuantizePlan): string[] {
  const unfit = tensors.filter((planned) => planned.unfit !== undefined);
  const lines: string[] = [];
  const [first] = unfit;
  if (first !== undefined)
    lines.push(
      `${unfit.length} of ${tensors.length} tensors have rows that are no whole number of blocks, as ` +
        `'${first.tensor.name}' with ${first.tensor.shape[0]} values: ${first.to.name} instead of ${first.unfit!.name}`,
    );
  if (moments !== undefined) {
    const changed = tensors.filter(({ from, to }) => from !== to);
    const fed = changed.filter((planned) => planned.moments !== undefined);
    lines.push(
      `error feedback by ${moments.path} for ${fed.length} of ${changed.length} tensors, in at most ` +
        `${formatBytes(feedbackBytes)} (--quality stock for llama-quantize's bytes)`,
    );
  }
  if (unweighed.length > 0)
    lines.push(`the importance matrix says nothing of ${unweighed.length} matrices, as '${unweighed[0]}'`);
  return lines;
}
