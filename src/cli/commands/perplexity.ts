/** `hundredweight perplexity MODEL FILE`: as llama.cpp defines it. */
import type { Command } from "commander";
import { openCheckpoint } from "../../containers/index.js";
import { HundredweightError } from "../../errors.js";
import type { Model } from "../../library/model.js";
import { readTextParts, type TextPart } from "../../regular-file.js";
import { modelFile } from "../../store/model-word.js";
import { createTokenizer, LongTextEncoder, type Tokenizer } from "../../tokenizer/index.js";
import { addModelOptions, loadOptions, type ModelFlags } from "../options/model-options.js";
import { parseInteger } from "../options/options.js";
import { withInterrupt } from "../terminal/interrupt.js";
import { loadShown } from "../terminal/loading.js";
import { printJson, printText } from "../terminal/output.js";
import { Progress } from "../terminal/progress.js";

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
  await withInterrupt(async (signal) => {
    const options = loadOptions(flags);
    const source = new TokenSource(modelFile(path), file);
    await source.open();
    const shape = { logitRows: 64, chunkRows: Math.min(512, contextTokens), ...options, contextTokens };
    const model = await loadShown(modelFile(path), shape, flags.progress);
    try {
      const progress = new Progress("perplexity", { forced: flags.progress });
      const result = await perplexity(model, source.ids(), contextTokens, flags.chunks, signal, (chunk, running) => {
        const chunks = Math.max(chunk, Math.floor(source.expectedTokens / contextTokens));
        progress.update(chunk, Math.min(flags.chunks ?? chunks, chunks), { facts: [`${running.toFixed(4)} so far`] });
      });
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

/** Ids of a file's text, which may be larger than memory. */
export class TokenSource {
  readonly #model: string;
  readonly #parts: ReturnType<typeof readTextParts>;
  #tokenizer: Tokenizer | undefined;
  #begin: TextPart | undefined;
  #tokens = 0;
  #share: number | undefined;

  constructor(model: string, file: string) {
    this.#model = model;
    this.#parts = readTextParts(file);
  }

  /**
   * The file is read once, so that one that is missing is told before a model is loaded.
   * @throws FILE_*, TOKENIZER_*
   */
  async open(): Promise<void> {
    this.#begin = this.#parts.next().value ?? undefined;
    this.#tokenizer = createTokenizer((await openCheckpoint(this.#model)).metadata);
  }

  /** The token that chunks begin with, where the model adds one. */
  get bos(): number | undefined {
    const { addBos, special } = this.#tokenizer!;
    return addBos ? special.bos : undefined;
  }

  /** An estimate for the whole text. */
  get expectedTokens(): number {
    return this.#share === undefined ? 0 : this.#tokens / Math.max(1e-9, this.#share);
  }

  *ids(): Generator<Int32Array> {
    const encoder = new LongTextEncoder(this.#tokenizer!, { addSpecial: false });
    const take = ({ text, share }: TextPart): Int32Array => {
      const ids = encoder.push(text);
      this.#tokens += ids.length;
      if (ids.length > 0) this.#share = share;
      return ids;
    };
    if (this.#begin !== undefined) yield take(this.#begin);
    for (const part of this.#parts) yield take(part);
    yield encoder.end();
  }
}

/**
 * exp of the mean negative log-probability. The ids of the text are cut into chunks of `contextTokens`, which are
 * scored as they come; the first token of each becomes BOS when the model adds one; positions from contextTokens / 2 on
 * predict their successor.
 * @param ids of the whole text without BOS, in pieces
 * @throws OPTION_INVALID when the text has no whole chunk
 * @source llama.cpp tools/perplexity
 */
export async function perplexity(
  model: Pick<Model, "info" | "logProbabilities">,
  ids: Iterable<Int32Array>,
  contextTokens: number,
  maxChunks: number | undefined,
  signal: AbortSignal,
  onChunk: (chunk: number, running: number) => void = () => {},
): Promise<Perplexity> {
  const { addBos, special } = model.info;
  const bos = addBos ? special.bos : undefined;
  const from = Math.floor(contextTokens / 2);
  const chunk = new Int32Array(contextTokens);
  let filled = 0;
  let chunks = 0;
  let sum = 0;
  let squares = 0;
  let count = 0;
  for (const piece of withBos(ids, bos)) {
    for (let at = 0; at < piece.length; ) {
      const part = piece.subarray(at, at + contextTokens - filled);
      chunk.set(part, filled);
      at += part.length;
      filled += part.length;
      if (filled < contextTokens) break;
      filled = 0;
      if (bos !== undefined) chunk[0] = bos;
      for (const value of await model.logProbabilities(chunk, { from, signal })) {
        sum -= value;
        squares += value * value;
        count++;
      }
      onChunk(++chunks, Math.exp(sum / count));
      if (chunks === maxChunks) return summary(sum, squares, count, chunks);
    }
  }
  if (chunks > 0) return summary(sum, squares, count, chunks);
  throw new HundredweightError(
    "OPTION_INVALID",
    `the text has ${filled} tokens, less than a chunk of ${contextTokens}; take a longer text or a smaller --ctx`,
  );
}

/** The ids of a text, behind BOS where it has none. */
export function* withBos(ids: Iterable<Int32Array>, bos: number | undefined): Generator<Int32Array> {
  let begun = false;
  for (const piece of ids) {
    if (!begun && piece.length > 0) {
      begun = true;
      if (bos !== undefined && piece[0] !== bos) yield Int32Array.of(bos);
    }
    yield piece;
  }
}

function summary(sum: number, squares: number, count: number, chunks: number): Perplexity {
  const mean = sum / count;
  const deviation = Math.sqrt(Math.max(0, squares / count - mean * mean) / Math.max(1, count - 1));
  const value = Math.exp(mean);
  return { perplexity: value, tokens: count, chunks, error: value * deviation };
}
