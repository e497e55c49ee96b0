/** `hundredweight embed MODEL [FILES...]`: a line of JSON with a vector for each text. */
import type { Command } from "commander";
import { HundredweightError } from "../../errors.js";
import type { EmbedOptions, Model } from "../../library/model.js";
import { modelFile } from "../../store/model-word.js";
import { type InputText, inputTexts } from "../embed/input.js";
import { addModelOptions, loadOptions, type ModelFlags } from "../options/model-options.js";
import { parseChoice, parseInteger } from "../options/options.js";
import { withInterrupt } from "../terminal/interrupt.js";
import { loadShown } from "../terminal/loading.js";
import { tell } from "../terminal/output.js";

interface EmbedFlags extends ModelFlags {
  dimensions?: number;
  pooling?: "none" | "mean" | "cls" | "last";
  normalize?: number;
  encoding?: "float" | "base64";
  jsonl?: boolean;
  whole?: boolean;
  prefix?: string;
  parallel?: number;
}

/** Texts that are given to the engine before the first of them is answered, for each sequence of a pass. */
const aheadOfPass = 4;

export function register(program: Command): void {
  const command = program
    .command("embed")
    .description("Write a vector for each text, a line of JSON each: lines of files or of standard input are texts.")
    .argument("<model>", "a GGUF file")
    .argument("[files...]", "texts, one a line; none or - = standard input")
    .option("--dimensions <n>", "only the first n numbers, normalized behind the cut", (t) =>
      parseInteger(t, "--dimensions", 1),
    )
    .option("--pooling <kind>", "mean, cls, last, or none: a vector for each token (default: as the file says)", (t) =>
      parseChoice(t, "--pooling", ["mean", "cls", "last", "none"]),
    )
    .option("--normalize <norm>", "none, max, or p of the p-norm that becomes 1 (default 2)", parseNorm)
    .option("--encoding <kind>", "float: numbers; base64: little-endian f32", (t) =>
      parseChoice(t, "--encoding", ["float", "base64"]),
    )
    .option("--jsonl", "lines are JSON: a text, token ids, or {id, text}; the id comes back")
    .option("--whole", "each file is one text")
    .option("--prefix <text>", "stands before every text, as some models want: 'search_query: '")
    .option("--parallel <n>", "texts in a pass (default 16)", (t) => parseInteger(t, "--parallel", 1, 256));
  addModelOptions(command).action((model: string, files: string[], flags: EmbedFlags) => run(model, files, flags));
}

/** llama.cpp's numbers of norms. */
function parseNorm(text: string): number {
  const named: Readonly<Record<string, number>> = { none: -1, max: 0 };
  const norm = named[text] ?? Number(text);
  if (norm === -1 || norm === 0 || (norm >= 1 && Number.isFinite(norm))) return norm;
  throw new HundredweightError("OPTION_INVALID", `--normalize: '${text}' is none of none, max and a number from 1 on`);
}

async function run(path: string, files: readonly string[], flags: EmbedFlags): Promise<void> {
  const { parallel: sequences = 16, whole = false, jsonl = false, prefix = "" } = flags;
  if (whole && jsonl) throw new HundredweightError("OPTION_INVALID", "give one of --whole and --jsonl");
  await withInterrupt(async (signal) => {
    const model = await loadShown(modelFile(path), { ...loadOptions(flags), sequences, signal }, flags.progress);
    try {
      const began = performance.now();
      const texts = inputTexts(files, { whole, jsonl, prefix });
      const { count, tokens } = await embedAll(model, texts, flags, sequences * aheadOfPass, signal);
      const seconds = (performance.now() - began) / 1000;
      if (flags.progress || process.stderr.isTTY)
        tell(`${count} texts, ${tokens} tokens in ${seconds.toFixed(1)} s (${(tokens / seconds).toFixed(0)}/s)`);
    } finally {
      await model.close();
    }
  });
}

/** In the order of the texts, so many of them under way. */
async function embedAll(
  model: Model,
  texts: AsyncGenerator<InputText>,
  flags: EmbedFlags,
  ahead: number,
  signal: AbortSignal,
): Promise<{ count: number; tokens: number }> {
  const options: EmbedOptions = {
    signal,
    ...(flags.dimensions !== undefined && { dimensions: flags.dimensions }),
    ...(flags.pooling !== undefined && { pooling: flags.pooling }),
    ...(flags.normalize !== undefined && { normalize: flags.normalize }),
  };
  const waiting: Promise<string>[] = [];
  let count = 0;
  let tokens = 0;
  const one = async ({ text, id }: InputText, index: number): Promise<string> => {
    const made = await model.embedding(text, options);
    tokens += made.tokens;
    const vector = made.vectors.map((row) => encoded(row, flags.encoding));
    const embedding = flags.pooling === "none" ? vector : vector[0];
    return `${JSON.stringify({ index, ...(id !== undefined && { id }), tokens: made.tokens, embedding })}\n`;
  };
  try {
    for await (const text of texts) {
      const line = one(text, count++);
      // It is awaited below; until then its failure is nobody's surprise.
      line.catch(() => {});
      waiting.push(line);
      if (waiting.length >= ahead) await write(await waiting.shift()!);
    }
    while (waiting.length > 0) await write(await waiting.shift()!);
  } catch (error) {
    if (error instanceof HundredweightError && error.code === "CONTEXT_EXCEEDED")
      throw new HundredweightError(
        "CONTEXT_EXCEEDED",
        `text ${count - waiting.length}: ${error.message}`,
        error.details,
      );
    throw error;
  }
  return { count, tokens };
}

function encoded(row: Float32Array, encoding: EmbedFlags["encoding"]): number[] | string {
  if (encoding !== "base64") return [...row];
  return Buffer.from(row.buffer, row.byteOffset, row.byteLength).toString("base64");
}

/** Waits until a pipe has taken it. */
function write(text: string): Promise<void> {
  return new Promise((resolve) => {
    process.stdout.write(text, () => resolve());
  });
}
