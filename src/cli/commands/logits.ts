/** `hundredweight logits MODEL --tokens 1,2,3 --out FILE`: next-token logits as raw little-endian f32. */
import { closeSync, writeSync } from "node:fs";
import { endianness } from "node:os";
import type { Command } from "commander";
import { HundredweightError } from "../../errors.js";
import { openOutputSync } from "../../regular-file.js";
import { modelFile } from "../../store/model-word.js";
import { addModelOptions, loadOptions, type ModelFlags } from "../options/model-options.js";
import { parseIds } from "../options/options.js";
import { withInterrupt } from "../terminal/interrupt.js";
import { loadShown } from "../terminal/loading.js";
import { printJson } from "../terminal/output.js";

interface LogitsFlags extends ModelFlags {
  tokens: Int32Array;
  all?: boolean;
  out: string;
}

export function register(program: Command): void {
  const command = program
    .command("logits")
    .description(
      "Write the next-token logits after the last (or every) given token: raw little-endian f32 [rows, vocab].",
    )
    .argument("<model>", "a GGUF file")
    .requiredOption("--tokens <ids>", "token ids, e.g. 1,2,3", (t) => parseIds(t, "--tokens"))
    .option("--all", "a row for every position, not only the last")
    .requiredOption("--out <file>", "where to write them");
  addModelOptions(command).action((model: string, flags: LogitsFlags) => logits(model, flags));
}

async function logits(path: string, flags: LogitsFlags): Promise<void> {
  const { tokens } = flags;
  if (tokens.length === 0) throw new HundredweightError("OPTION_INVALID", "--tokens: no token ids given");
  await withInterrupt(async () => {
    const logitRows = flags.all ? 64 : 1;
    const contextTokens = flags.ctx ?? tokens.length;
    const model = await loadShown(modelFile(path), { ...loadOptions(flags), contextTokens, logitRows }, flags.progress);
    try {
      const from = flags.all ? 0 : tokens.length - 1;
      const rows = tokens.length - from;
      const { vocab } = model.info;
      const file = new OutputFile(flags.out);
      try {
        await model.logits(tokens, {
          from,
          onRows: (position, values) => file.write(values, (position - from) * vocab * 4),
        });
      } finally {
        file.close();
      }
      file.check();
      if (flags.json) printJson({ out: flags.out, rows, vocab, from });
    } finally {
      await model.close();
    }
  });
}

/** Rows come from an event handler, so the first failure is kept and reported at the end. */
class OutputFile {
  private readonly path: string;
  private readonly fd: number;
  private failure: HundredweightError | undefined;

  constructor(path: string) {
    this.path = path;
    try {
      this.fd = openOutputSync(path);
    } catch (error) {
      throw this.wrap(error);
    }
  }

  write(values: Float32Array, at: number): void {
    if (this.failure !== undefined) return;
    const bytes = Buffer.from(values.buffer, values.byteOffset, values.byteLength);
    if (endianness() === "BE") bytes.swap32();
    try {
      for (let done = 0; done < bytes.length; ) done += writeSync(this.fd, bytes, done, bytes.length - done, at + done);
    } catch (error) {
      this.failure = this.wrap(error);
    }
  }

  close(): void {
    try {
      closeSync(this.fd);
    } catch (error) {
      this.failure ??= this.wrap(error);
    }
  }

  check(): void {
    if (this.failure !== undefined) throw this.failure;
  }

  private wrap(error: unknown): HundredweightError {
    if (error instanceof HundredweightError) return error;
    const { code } = error as NodeJS.ErrnoException;
    return new HundredweightError(
      "FILE_IO",
      `cannot write ${this.path}: ${code}`,
      { path: this.path },
      { cause: error },
    );
  }
}
