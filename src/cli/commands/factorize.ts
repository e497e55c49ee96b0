/** `factorize IN OUT --rank R | --bytes SIZE`: matrices as two factors. */
import type { Command } from "commander";
import { factorizeModel } from "../../compress/factorize/model.js";
import { openMoments } from "../../compress/moments.js";
import { parseType } from "../../compress/type-plan.js";
import { HundredweightError } from "../../errors.js";
import { type Dtype, openGguf } from "../../formats/index.js";
import { modelFile } from "../../store/model-word.js";
import { parseBytes, parseInteger } from "../options/options.js";
import { refuseSelf } from "../options/own-input.js";
import { withInterrupt } from "../terminal/interrupt.js";
import { formatBytes, printJson, printText } from "../terminal/output.js";
import { Progress } from "../terminal/progress.js";

interface FactorizeFlags {
  readonly rank?: number;
  readonly bytes?: number;
  readonly moments?: string;
  readonly only?: RegExp;
  readonly type?: Dtype;
  readonly threads?: number;
  readonly dryRun?: boolean;
  readonly progress?: boolean;
  readonly json?: boolean;
}

export function register(program: Command): void {
  program
    .command("factorize")
    .description(
      "Write a GGUF model in which matrices are two factors (whitened SVD). It runs here, not in llama.cpp. Fewer " +
        "bits lose less at equal bytes: compare with `quality`.",
    )
    .argument("<in>", "a GGUF file")
    .argument("<out>", "GGUF file to write")
    .option("--rank <n>", "the rank of every matrix that becomes smaller by it", (t) =>
      parseInteger(t, "--rank", 1, 2 ** 20),
    )
    .option("--bytes <size>", "instead of --rank: the most bytes of the file; every matrix gets the same share", (t) =>
      parseBytes(t, "--bytes"),
    )
    .option("--moments <file>", "moments of inputs, as `calibrate` writes them (default: plain SVD)")
    .option("--only <regex>", "names of the matrices (default: all of the layers)", pattern)
    .option("--type <type>", "the type of the factors (default: that of the matrix, F16 of quantized ones)", (t) =>
      parseType(t, "--type"),
    )
    .option("--threads <n>", "compute threads", (t) => parseInteger(t, "--threads", 1, 1024))
    .option("--dry-run", "write nothing: ranks and size")
    .option("--progress", "show progress also when stderr is no terminal")
    .option("--json", "one JSON document on stdout")
    .action((from: string, to: string, flags: FactorizeFlags) =>
      withInterrupt((signal) => run(from, to, flags, signal)),
    );
}

function pattern(text: string): RegExp {
  try {
    return new RegExp(text);
  } catch {
    throw new HundredweightError("OPTION_INVALID", `--only: '${text}' is no regular expression`);
  }
}

async function run(word: string, to: string, flags: FactorizeFlags, signal: AbortSignal): Promise<void> {
  const { rank, bytes: most } = flags;
  if ((rank === undefined) === (most === undefined))
    throw new HundredweightError("OPTION_INVALID", "give one of --rank and --bytes");
  const checkpoint = openGguf(modelFile(word));
  refuseSelf(checkpoint, to);
  const progress = new Progress("factorizing", { forced: flags.progress });
  const { matrices, kept, bytes } = await factorizeModel(checkpoint, flags.dryRun ? undefined : to, {
    size: rank === undefined ? { bytes: most! } : { rank },
    signal,
    ...(flags.only !== undefined && { only: flags.only }),
    ...(flags.type !== undefined && { type: flags.type }),
    ...(flags.moments !== undefined && { moments: openMoments(flags.moments) }),
    ...(flags.threads !== undefined && { threads: flags.threads }),
    onMatrix: (done, all) => progress.update(done, all, { facts: ["matrices"] }),
  }).finally(() => progress.end());
  if (flags.json) {
    const rounded = matrices.map(({ lost, ...one }) => ({ ...one, ...(Number.isFinite(lost) && { lost }) }));
    printJson({ path: to, matrices: rounded, kept, bytes });
    return;
  }
  for (const { name, rank: own, lost } of matrices) {
    const percent = Number.isFinite(lost) ? `  ${(100 * lost).toFixed(2)} % lost` : "";
    printText(`${name.padEnd(28)} rank ${String(own).padStart(5)}${percent}\n`);
  }
  if (kept > 0) printText(`${kept} matrices stay: two factors would be no smaller\n`);
  printText(`${to}: ${formatBytes(bytes)}${flags.dryRun ? " if it was written" : ""}\n`);
}
