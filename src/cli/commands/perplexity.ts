/** `hundredweight perplexity MODEL FILE`: as llama.cpp defines it. */
import type { Command } from "commander";
import { HundredweightError } from "../../errors.js";
import { load, type Model } from "../../model.js";
import { readTextSync } from "../../regular-file.js";
import { withInterrupt } from "../interrupt.js";
import { addModelOptions, loadOptions, type ModelFlags } from "../model-options.js";
import { modelFile } from "../model-word.js";
import { parseInteger } from "../options.js";
import { printJson, printText } from "../output.js";
import { Progress } from "../progress.js";

interface PerplexityFlags extends ModelFlags {
  chunks?: number;
}

export interface Perplexity {
  readonly perplexity: number;
  /** Tokens that were scored. */
  readonly tokens: number;
  readonly chunks: number;
  /** Standard error of the perplexity. */
  readonly error: number;
}

export function register(program: Command): void {
  const command = program
    .command("perplexity")
    .description(
      "Perplexity of a text: chunks of --ctx tokens (default 512), BOS first, the second half of each scored.",
    )
    .argument("<model>", "a GGUF file")
    .argument("<file>", "a UTF-8 text")
    .option("--chunks <n>", "only the first n chunks", (t) => parseInteger(t, "--chunks", 1));
  addModelOptions(command).action((model: string, file: string, flags: PerplexityFlags) => run(model, file, flags));
}

async function run(path: string, file: string, flags: PerplexityFlags): Promise<void> {
  const contextTokens = flags.ctx ?? 512;
  if (contextTokens < 4)
    throw new HundredweightError("OPTION_INVALID", "--ctx: perplexity needs chunks of at least 4 tokens");
  const text = readTextSync(file);
  await withInterrupt(async (signal) => {
    const options = loadOptions(flags);
    const model = await load(modelFile(path), {
      logitRows: 64,
      chunkRows: Math.min(512, contextTokens),
      ...options,
      contextTokens,
    });
    try {
      const progress = new Progress("perplexity", flags.progress);
      const result = await perplexity(model, text, contextTokens, flags.chunks, signal, (chunk, chunks, running) =>
        progress.update(chunk, chunks, `perplexity ${running.toFixed(4)}`),
      );
      progress.end();
      if (flags.json) printJson(result);
      else {
        printText(
          `perplexity ${result.perplexity.toFixed(4)} +/- ${result.error.toFixed(4)} ` +
            `(${result.tokens} tokens in ${result.chunks} chunks of ${contextTokens})\n`,
        );
      }
    } finally {
      await model.close();
    }
  });
}

/**
 * exp of the mean negative log-probability. The text is tokenized as a whole and cut into chunks of `contextTokens`;
 * the first token of each becomes BOS when the model adds one; positions from contextTokens / 2 on predict their
 * successor.
 * @throws OPTION_INVALID when the text has no whole chunk
 * @source llama.cpp tools/perplexity
 */
export async function perplexity(
  model: Pick<Model, "info" | "logProbabilities" | "tokenize">,
  text: string,
  contextTokens: number,
  mostChunks: number | undefined,
  signal: AbortSignal,
  onChunk: (chunk: number, chunks: number, running: number) => void = () => {},
): Promise<Perplexity> {
  const plain = await model.tokenize(text);
  const { addBos, special } = model.info;
  const bos = addBos ? special.bos : undefined;
  const tokens = bos === undefined || plain[0] === bos ? plain : [bos, ...plain];
  const chunks = Math.min(mostChunks ?? Infinity, Math.floor(tokens.length / contextTokens));
  if (chunks === 0) {
    throw new HundredweightError(
      "OPTION_INVALID",
      `the text has ${tokens.length} tokens, less than a chunk of ${contextTokens}; take a longer text or a smaller --ctx`,
    );
  }
  const first = Math.floor(contextTokens / 2);
  let sum = 0;
  let squares = 0;
  let count = 0;
  for (let chunk = 0; chunk < chunks; chunk++) {
    const ids = Int32Array.from(tokens.slice(chunk * contextTokens, (chunk + 1) * contextTokens));
    if (bos !== undefined) ids[0] = bos;
    for (const value of await model.logProbabilities(ids, { from: first, signal })) {
      sum -= value;
      squares += value * value;
      count++;
    }
    onChunk(chunk + 1, chunks, Math.exp(sum / count));
  }
  const mean = sum / count;
  const deviation = Math.sqrt(Math.max(0, squares / count - mean * mean) / Math.max(1, count - 1));
  const value = Math.exp(mean);
  return { perplexity: value, tokens: count, chunks, error: value * deviation };
}
