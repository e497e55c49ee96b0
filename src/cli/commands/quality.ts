/** `quality A B... TEXT...`: how far models are from a reference, over texts. */
import { closeSync, readSync, statSync } from "node:fs";
import type { Command } from "commander";
import { openCheckpoint } from "../../containers/index.js";
import { isApr, modelFolderOf } from "../../containers/model-folder/named.js";
import { type IoMode, ioModes } from "../../engine/options.js";
import { HundredweightError } from "../../errors.js";
import type { Checkpoint } from "../../formats/index.js";
import type { KvCacheType } from "../../ops/kv-form.js";
import { compareModels, type Domain, type Quality } from "../../quality/quality.js";
import { isReferenceFile, ReferenceReader, ReferenceWriter } from "../../quality/reference-file.js";
import { ScoredModel } from "../../quality/scored-model.js";
import { checkOutputPath, openRegularSync, writeOutputSync } from "../../regular-file.js";
import { modelFile } from "../../store/model-word.js";
import { parseKv } from "../options/kv-option.js";
import { parseBytes, parseChoice, parseInteger } from "../options/options.js";
import { qualityDocument, qualitySvg, qualityText, type Subject } from "../reports/quality-report.js";
import { withInterrupt } from "../terminal/interrupt.js";
import { printJson, printText } from "../terminal/output.js";
import { Progress } from "../terminal/progress.js";
import { chunksOf } from "./calibrate.js";
import { TokenSource } from "./perplexity.js";

interface QualityFlags {
  readonly ctx: number;
  readonly chunks?: number;
  readonly together: number;
  readonly memory?: number;
  readonly kv?: readonly KvCacheType[];
  readonly threads?: number;
  readonly io?: IoMode;
  readonly saveLogits?: string;
  readonly top: number;
  readonly svg?: string;
  readonly progress?: boolean;
  readonly json?: boolean;
}

export function register(program: Command): void {
  program
    .command("quality")
    .description(
      "Compare models with a reference over texts: perplexity, KL divergence a token, how often the likeliest token " +
        "is the same, by text. As llama-perplexity --kl-divergence, with nothing stored.",
    )
    .argument("<reference>", "the model they are judged by, or what --save-logits or `teach` wrote of it")
    .argument("<words...>", "models, and UTF-8 texts; each text is a domain of its own")
    .option(
      "--ctx <tokens>",
      "tokens of a chunk; its second half is scored",
      (t) => parseInteger(t, "--ctx", 16, 65536),
      512,
    )
    .option("--chunks <n>", "only the first n chunks of each text", (t) => parseInteger(t, "--chunks", 1))
    .option(
      "--together <n>",
      "chunks for which streamed weights are read once; each takes memory for its activations",
      (t) => parseInteger(t, "--together", 1, 64),
      1,
    )
    .option("--memory <size>", "memory budget of all models together (default: what is free)", (t) =>
      parseBytes(t, "--memory"),
    )
    .option(
      "--kv <types>",
      "each model with each of these KV caches, e.g. q8_0,q8_0:q4_0,q4_0+h; without a model the reference itself",
      (text) => text.split(",").map((type) => parseKv(type)),
    )
    .option("--threads <n>", "compute threads", (t) => parseInteger(t, "--threads", 1, 1024))
    .option("--io <mode>", "how weights are read: auto, mmap, direct, buffered", (t) => parseChoice(t, "--io", ioModes))
    .option("--save-logits <file>", "write what the reference says of the texts, to stand for it later")
    .option("--top <k>", "logits of a token that --save-logits keeps", (t) => parseInteger(t, "--top", 1, 2 ** 24), 512)
    .option("--svg <file>", "draw size against divergence")
    .option("--progress", "show progress also when stderr is no terminal")
    .option("--json", "one JSON document on stdout")
    .action((reference: string, words: string[], flags: QualityFlags) => run(reference, words, flags));
}

async function run(word: string, words: readonly string[], flags: QualityFlags): Promise<void> {
  const named = words.filter((name) => !isText(name)).map((name) => modelFile(name));
  const texts = words.filter(isText);
  const stored = isStored(word);
  // Before the models run for it.
  if (flags.svg !== undefined) checkOutputPath(flags.svg);
  if (texts.length === 0) throw new HundredweightError("OPTION_INVALID", "give a text to compare the models over");
  // The reference under other caches is a model to compare.
  const models = named.length === 0 && flags.kv !== undefined && !stored ? [modelFile(word)] : named;
  if (models.length === 0 && (stored || flags.saveLogits === undefined))
    throw new HundredweightError("OPTION_INVALID", "give a model to compare with the reference");
  const compared = models.flatMap((path) => (flags.kv ?? [undefined]).map((kv) => ({ path, kv })));
  const opened = stored ? compared : [{ path: modelFile(word), kv: undefined }, ...compared];
  const checkpoints: Checkpoint[] = [];
  for (const { path } of opened) checkpoints.push(await openCheckpoint(path));
  const kvTypes = opened.map(({ kv = "f16" }) => kv);
  checkVocabularies(checkpoints);
  const reader = stored ? new ReferenceReader(word) : undefined;
  try {
    const chunkTokens = reader?.shape.chunkTokens ?? flags.ctx;
    const domains = await domainsOf(checkpoints[0]!, texts, chunkTokens);
    const found = await withInterrupt((signal) =>
      measure(checkpoints, reader, domains, { ...flags, chunkTokens, kvTypes }, signal),
    );
    const subjects = checkpoints.map((checkpoint, i) => subjectOf(checkpoint, opened[i]!.kv));
    const about = {
      reference: reader === undefined ? subjects[0]! : { path: word },
      models: reader === undefined ? subjects.slice(1) : subjects,
      chunkTokens,
      ...(reader !== undefined && storedFacts(reader)),
    };
    if (flags.svg !== undefined) writeOutputSync(flags.svg, qualitySvg(about, found));
    if (flags.json) printJson(qualityDocument(about, found));
    else printText(qualityText(about, found));
  } finally {
    reader?.close();
  }
}

async function measure(
  checkpoints: readonly Checkpoint[],
  reader: ReferenceReader | undefined,
  domains: readonly ExpectedDomain[],
  flags: QualityFlags & { readonly chunkTokens: number; readonly kvTypes: readonly KvCacheType[] },
  signal: AbortSignal,
): Promise<Quality> {
  const { chunkTokens, together, chunks, memory, kvTypes, threads, io, saveLogits } = flags;
  const opened = await ScoredModel.openAll(checkpoints, {
    chunkTokens,
    together,
    kvTypes,
    ...(memory !== undefined && { memoryBytes: memory }),
    ...(threads !== undefined && { threads }),
    ...(io !== undefined && { io }),
  });
  const progress = new Progress("comparing", { forced: flags.progress });
  const done = new Map<string, number>();
  let save: ReferenceWriter | undefined;
  try {
    const [first] = opened;
    if (reader === undefined && saveLogits !== undefined) {
      const top = Math.min(flags.top, first!.vocab);
      save = new ReferenceWriter(saveLogits, { vocab: first!.vocab, chunkTokens, top });
    }
    const models = reader === undefined ? opened.slice(1) : opened;
    const found = await compareModels(reader ?? first!, models, domains, {
      chunkTokens,
      together,
      signal,
      ...(chunks !== undefined && { maxChunks: chunks }),
      ...(save !== undefined && { save }),
      onChunks: (count, name) => {
        done.set(name, count);
        const all = [...done.values()].reduce((sum, n) => sum + n, 0);
        const expected = domains.reduce(
          (sum, domain) => sum + Math.min(chunks ?? Infinity, domain.expectedChunks()),
          0,
        );
        progress.update(all, Math.max(all, expected), { facts: [name] });
      },
    });
    save?.end();
    return found;
  } catch (error) {
    save?.abandon();
    throw error;
  } finally {
    progress.end();
    for (const model of opened) model.close();
  }
}

function storedFacts({ shape: { top, seed }, meanTail }: ReferenceReader) {
  return seed === undefined ? { top, meanTail } : { draws: top };
}

interface ExpectedDomain extends Domain {
  expectedChunks(): number;
}

async function domainsOf(
  checkpoint: Checkpoint,
  texts: readonly string[],
  chunkTokens: number,
): Promise<ExpectedDomain[]> {
  const domains: ExpectedDomain[] = [];
  for (const name of texts) {
    const source = new TokenSource(checkpoint.path, name);
    await source.open();
    domains.push({
      name,
      chunks: chunksOf([source], chunkTokens),
      expectedChunks: () => Math.floor(source.expectedTokens / chunkTokens),
    });
  }
  return domains;
}

function subjectOf({ path, tensors, files, tensorBytes }: Checkpoint, kv: KvCacheType | undefined): Subject {
  let values = 0;
  for (const { shape } of tensors.values()) values += shape.reduce((product, size) => product * size, 1);
  const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
  return { path, bytes, bitsPerValue: (8 * tensorBytes) / values, ...(kv !== undefined && { kv }) };
}

/** @throws OPTION_INVALID */
function checkVocabularies([first, ...others]: readonly Checkpoint[]): void {
  const tokensOf = ({ metadata }: Checkpoint) => metadata.packedStrings("tokenizer.ggml.tokens")?.bytes;
  const own = tokensOf(first!);
  for (const other of others) {
    const theirs = tokensOf(other);
    if (own === undefined || theirs === undefined || Buffer.compare(own, theirs) === 0) continue;
    throw new HundredweightError("OPTION_INVALID", `${other.path}: has other tokens than ${first!.path}`);
  }
}

/** The first bytes of a regular file; none of anything else. */
function beginOf(path: string): Uint8Array {
  if (statSync(path, { throwIfNoEntry: false })?.isFile() !== true) return new Uint8Array(0);
  const file = openRegularSync(path);
  try {
    const begin = new Uint8Array(64);
    return begin.subarray(0, readSync(file, begin, 0, begin.length, 0));
  } finally {
    closeSync(file);
  }
}

const isStored = (path: string): boolean => isReferenceFile(beginOf(path));

/** A file that is no model; what is not there is a model's name. */
function isText(path: string): boolean {
  const stats = statSync(path, { throwIfNoEntry: false });
  if (stats === undefined || stats.isDirectory()) return false;
  const isGguf = Buffer.from(beginOf(path).subarray(0, 4)).toString("latin1") === "GGUF";
  return !isGguf && !isApr(path) && modelFolderOf(path) === undefined;
}
