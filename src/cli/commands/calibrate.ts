/** `calibrate MODEL TEXT...`: the importance matrix that llama-imatrix makes. */
import type { Command } from "commander";
import { calibrate, writeImportance } from "../../compress/calibrate.js";
import { momentsPath, writeMoments } from "../../compress/moments.js";
import { openCheckpoint } from "../../containers/index.js";
import { describeModel } from "../../models/index.js";
import { modelFile } from "../../store/model-word.js";
import { parseBytes, parseInteger } from "../options/options.js";
import { withInterrupt } from "../terminal/interrupt.js";
import { formatBytes, printJson, printText } from "../terminal/output.js";
import { Progress } from "../terminal/progress.js";
import { TokenSource, withBos } from "./perplexity.js";

interface CalibrateFlags {
  readonly out: string;
  readonly ctx: number;
  readonly chunks?: number;
  readonly together: number;
  readonly moments: boolean;
  readonly momentsMemory: number;
  readonly threads?: number;
  readonly progress?: boolean;
  readonly json?: boolean;
}

export function register(program: Command): void {
  program
    .command("calibrate")
    .alias("imatrix")
    .description("Find which columns of each matrix matter for a text: the importance matrix that `quantize` takes.")
    .argument("<model>", "a model in F32, F16, BF16 or Q8_0")
    .argument("<texts...>", "UTF-8 texts; each is cut into chunks of its own")
    .option("-o, --out <file>", "file to write; the older form where it ends in .dat", "imatrix.gguf")
    .option("--ctx <tokens>", "tokens of a chunk", (t) => parseInteger(t, "--ctx", 16, 65536), 512)
    .option("--chunks <n>", "only the first n chunks", (t) => parseInteger(t, "--chunks", 1))
    .option(
      "--together <n>",
      "chunks for which the weights are read once; each takes memory for its activations",
      (t) => parseInteger(t, "--together", 1, 64),
      1,
    )
    .option("--no-moments", "do not gather the moments of inputs, which `quantize --quality best` takes")
    .option(
      "--moments-memory <size>",
      "memory for moments; where it is too little they are of fewer columns together",
      (t) => parseBytes(t, "--moments-memory"),
      2 ** 31,
    )
    .option("--threads <n>", "compute threads", (t) => parseInteger(t, "--threads", 1, 1024))
    .option("--progress", "show progress also when stderr is no terminal")
    .option("--json", "one JSON document on stdout")
    .action((model: string, texts: string[], flags: CalibrateFlags) => run(model, texts, flags));
}

async function run(word: string, texts: readonly string[], flags: CalibrateFlags): Promise<void> {
  const path = modelFile(word);
  const checkpoint = await openCheckpoint(path);
  const sources = texts.map((text) => new TokenSource(path, text));
  for (const source of sources) await source.open();
  const began = performance.now();
  const progress = new Progress("calibrating", { forced: flags.progress });
  const found = await withInterrupt((signal) =>
    calibrate(describeModel(checkpoint), chunksOf(sources, flags.ctx), {
      chunkTokens: flags.ctx,
      together: flags.together,
      signal,
      ...(flags.chunks !== undefined && { maxChunks: flags.chunks }),
      ...(flags.threads !== undefined && { threads: flags.threads }),
      ...(flags.moments && { momentBytes: flags.momentsMemory }),
      onChunk: (chunks) => {
        const expected = sources.reduce((sum, source) => sum + Math.floor(source.expectedTokens / flags.ctx), 0);
        progress.update(chunks, Math.min(flags.chunks ?? Infinity, Math.max(chunks, expected)), { facts: ["chunks"] });
      },
    }),
  ).finally(() => progress.end());
  await writeImportance(flags.out, found, texts);
  const moments = found.moments && { path: momentsPath(flags.out), inputs: found.moments.size };
  const momentBytes = found.moments && (await writeMoments(moments!.path, found.moments, found));
  const seconds = (performance.now() - began) / 1000;
  const tokens = found.chunks * found.chunkTokens;
  const unused = [...found.sums].filter(([, { rows }]) => rows.includes(0)).map(([name]) => name);
  if (flags.json)
    printJson({ path: flags.out, matrices: found.sums.size, chunks: found.chunks, tokens, unused, seconds, moments });
  else {
    printText(`${flags.out}: ${found.sums.size} matrices, ${tokens} tokens in ${found.chunks} chunks, `);
    printText(`${seconds.toFixed(1)} s\n`);
    if (moments !== undefined)
      printText(`${moments.path}: moments of ${moments.inputs} inputs, ${formatBytes(momentBytes!)}\n`);
    if (unused.length > 0) printText(`${unused.length} stacks have experts that no token took, as ${unused[0]}\n`);
  }
}

/** Each chunk begins with BOS where the model adds one, in the place of its first token. */
export function* chunksOf(sources: readonly TokenSource[], length: number): Generator<Int32Array> {
  for (const source of sources) {
    const { bos } = source;
    let chunk = new Int32Array(length);
    let filled = 0;
    for (const piece of withBos(source.ids(), bos))
      for (let at = 0; at < piece.length; ) {
        const part = piece.subarray(at, at + length - filled);
        chunk.set(part, filled);
        at += part.length;
        filled += part.length;
        if (filled < length) break;
        if (bos !== undefined) chunk[0] = bos;
        yield chunk;
        chunk = new Int32Array(length);
        filled = 0;
      }
  }
}
