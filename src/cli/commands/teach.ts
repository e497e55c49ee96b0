/** `teach MODEL TEXT OUT`: what a model says of every token of a text, drawn, for a student to learn from. */
import type { Command } from "commander";
import { openCheckpoint } from "../../containers/index.js";
import { mostDraws, ReferenceWriter } from "../../quality/reference-file.js";
import { ScoredModel } from "../../quality/scored-model.js";
import { teach } from "../../quality/teach.js";
import { modelFile } from "../../store/model-word.js";
import { parseBytes, parseInteger } from "../options/options.js";
import { withInterrupt } from "../terminal/interrupt.js";
import { printJson, printText } from "../terminal/output.js";
import { Progress } from "../terminal/progress.js";
import { chunksOf } from "./calibrate.js";
import { TokenSource } from "./perplexity.js";

interface TeachFlags {
  readonly draws: number;
  readonly seed: number;
  readonly ctx: number;
  readonly chunks?: number;
  readonly memory?: number;
  readonly threads?: number;
  readonly progress?: boolean;
  readonly json?: boolean;
}

export function register(program: Command): void {
  program
    .command("teach")
    .description(
      "Write what a model says of every token of a text as some tokens drawn by their probability: unbiased, and a " +
        "thousandth of the logits. For students; `quality` takes the file as a reference.",
    )
    .argument("<model>", "the teacher")
    .argument("<text>", "a UTF-8 text")
    .argument("<out>", "file to write")
    .option("--draws <n>", "tokens drawn of each row", (t) => parseInteger(t, "--draws", 1, mostDraws), 12)
    .option("--seed <n>", "seed of the draws", (t) => parseInteger(t, "--seed", 0, 2 ** 53 - 1), 0)
    .option("--ctx <tokens>", "tokens of a chunk", (t) => parseInteger(t, "--ctx", 16, 65536), 512)
    .option("--chunks <n>", "only the first n chunks", (t) => parseInteger(t, "--chunks", 1))
    .option("--memory <size>", "memory budget (default: what is free)", (t) => parseBytes(t, "--memory"))
    .option("--threads <n>", "compute threads", (t) => parseInteger(t, "--threads", 1, 1024))
    .option("--progress", "show progress also when stderr is no terminal")
    .option("--json", "one JSON document on stdout")
    .action((model: string, text: string, out: string, flags: TeachFlags) => run(model, text, out, flags));
}

async function run(word: string, text: string, path: string, flags: TeachFlags): Promise<void> {
  const checkpoint = await openCheckpoint(modelFile(word));
  const source = new TokenSource(checkpoint.path, text);
  await source.open();
  const chunkTokens = flags.ctx;
  const [model] = await ScoredModel.openAll([checkpoint], {
    chunkTokens,
    ...(flags.memory !== undefined && { memoryBytes: flags.memory }),
    ...(flags.threads !== undefined && { threads: flags.threads }),
  });
  const progress = new Progress("teaching", { forced: flags.progress });
  let writer: ReferenceWriter | undefined;
  try {
    writer = new ReferenceWriter(path, { vocab: model!.vocab, chunkTokens, top: flags.draws, seed: flags.seed });
    const open = writer;
    const rows = await withInterrupt((signal) =>
      teach(model!, first(chunksOf([source], chunkTokens), flags.chunks), open, {
        signal,
        onChunk: (done) => {
          const expected = Math.floor(source.expectedTokens / chunkTokens);
          progress.update(done, Math.min(flags.chunks ?? Infinity, Math.max(done, expected)), { facts: ["chunks"] });
        },
      }),
    );
    writer.end();
    progress.end();
    if (flags.json) printJson({ path, rows, draws: flags.draws, seed: flags.seed, chunkTokens });
    else printText(`${path}: ${rows} rows, ${flags.draws} draws each\n`);
  } catch (error) {
    writer?.abandon();
    throw error;
  } finally {
    progress.end();
    model!.close();
  }
}

function* first(chunks: Iterable<Int32Array>, count = Infinity): Generator<Int32Array> {
  let left = count;
  for (const chunk of chunks) {
    if (left-- <= 0) return;
    yield chunk;
  }
}
