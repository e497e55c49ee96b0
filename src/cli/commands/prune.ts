/** `prune IN OUT --layers N` or another option: a model without the parts that matter least to a text. */
import type { Command } from "commander";
import { openMoments } from "../../compress/moments.js";
import { HundredweightError } from "../../errors.js";
import { openGguf, storedBytes } from "../../formats/index.js";
import { withoutChannels } from "../../quality/prune/channels.js";
import { type PrunedExperts, pruneExperts } from "../../quality/prune/experts/prune.js";
import { blockInfluence } from "../../quality/prune/influence.js";
import { withoutKvGroups } from "../../quality/prune/kv-groups.js";
import { leastInfluential, withoutLayers } from "../../quality/prune/layers.js";
import { withTiedHead } from "../../quality/prune/tied-head.js";
import { writePruned } from "../../quality/prune/write.js";
import { modelFile } from "../../store/model-word.js";
import { parseBytes, parseInteger } from "../options/options.js";
import { refuseSelf } from "../options/own-input.js";
import { withInterrupt } from "../terminal/interrupt.js";
import { formatBytes, printJson, printText } from "../terminal/output.js";
import { Progress } from "../terminal/progress.js";
import { chunksOf } from "./calibrate.js";
import { TokenSource } from "./perplexity.js";

interface PruneFlags {
  readonly layers?: number;
  readonly ffn?: number;
  readonly kvGroups?: number;
  readonly experts?: number;
  readonly tie?: boolean;
  readonly moments?: string;
  readonly repair: boolean;
  readonly text: readonly string[];
  readonly chunks: number;
  readonly memory?: number;
  readonly threads?: number;
  readonly dryRun?: boolean;
  readonly progress?: boolean;
  readonly json?: boolean;
}

export function register(program: Command): void {
  program
    .command("prune")
    .description(
      "Write a GGUF model without the layers that change least of what goes through them (block influence), " +
        "without the experts that add least to their layer (REAP), without channels of feed-forward nets, or " +
        "without heads of keys and values, as llama.cpp loads it. The file is smaller and much " +
        "worse: compare it with `quality`. With --tie nothing is lost.",
    )
    .argument("<in>", "a GGUF file")
    .argument("<out>", "GGUF file to write")
    .option("--layers <n>", "layers to leave out", (t) => parseInteger(t, "--layers", 1))
    .option("--ffn <n>", "channels of each feed-forward net that stay, instead of --layers", (t) =>
      parseInteger(t, "--ffn", 32),
    )
    .option("--kv-groups <n>", "heads of keys and values of each layer that stay, instead of --layers", (t) =>
      parseInteger(t, "--kv-groups", 1),
    )
    .option("--experts <n>", "experts of each layer that stay, instead of --layers", (t) =>
      parseInteger(t, "--experts", 1, 4096),
    )
    .option("--tie", "output.weight goes where it holds the token embedding's values, which are taken instead")
    .option("--moments <file>", "with --ffn, --kv-groups: moments of inputs, as `calibrate` writes them")
    .option("--no-repair", "with --ffn, --kv-groups, --experts: last matrices are not fitted to what is left")
    .option(
      "--text <file>",
      "a text to look at layers or experts with, several times for several",
      (t, before: string[]) => [...before, t],
      [],
    )
    .option("--chunks <n>", "chunks of 512 tokens of each text", (t) => parseInteger(t, "--chunks", 1), 8)
    .option("--memory <size>", "memory budget (default: what is free)", (t) => parseBytes(t, "--memory"))
    .option("--threads <n>", "compute threads", (t) => parseInteger(t, "--threads", 1, 1024))
    .option("--dry-run", "write nothing: which layers or experts would go")
    .option("--progress", "show progress also when stderr is no terminal")
    .option("--json", "one JSON document on stdout")
    .action((from: string, to: string, flags: PruneFlags) => withInterrupt((signal) => run(from, to, flags, signal)));
}

const chunkTokens = 512;

async function run(word: string, to: string, flags: PruneFlags, signal: AbortSignal): Promise<void> {
  const { layers, ffn, kvGroups, experts, tie } = flags;
  const given = [layers, ffn, kvGroups, experts, tie].filter((count) => count !== undefined);
  if (given.length !== 1)
    throw new HundredweightError("OPTION_INVALID", "give one of --layers, --experts, --ffn, --kv-groups and --tie");
  if (tie) return tieHead(word, to, flags, signal);
  if (ffn !== undefined || kvGroups !== undefined) return cutColumns(word, to, flags, signal);
  if (flags.text.length === 0)
    throw new HundredweightError("OPTION_INVALID", "--text: give a text to look at the model with");
  const checkpoint = openGguf(modelFile(word));
  refuseSelf(checkpoint, to);
  const chunks = await chunksFrom(checkpoint, flags);
  const progress = new Progress("pruning", { forced: flags.progress });
  const visiting = {
    chunkTokens,
    signal,
    ...(flags.memory !== undefined && { memoryBytes: flags.memory }),
    ...(flags.threads !== undefined && { threads: flags.threads }),
    onChunk: (done: number) => progress.update(done, chunks.length, { facts: ["chunks"] }),
  };
  if (flags.experts !== undefined) {
    const options = { ...visiting, keep: flags.experts, repair: flags.repair };
    const found = await pruneExperts(checkpoint, chunks, flags.dryRun ? undefined : to, options).finally(() =>
      progress.end(),
    );
    return tellExperts(to, found, flags);
  }
  const influence = await blockInfluence(checkpoint, chunks, visiting).finally(() => progress.end());
  const dropped = leastInfluential(influence, flags.layers!);
  const pruned = withoutLayers(checkpoint, dropped);
  const bytes = flags.dryRun ? undefined : await writePruned(to, pruned, signal);
  if (flags.json)
    return printJson({ path: to, dropped, influence: [...influence], ...(bytes !== undefined && { bytes }) });
  for (const [layer, value] of influence.entries())
    printText(
      `layer ${String(layer).padStart(3)}  influence ${value.toFixed(5)}${dropped.includes(layer) ? "  goes" : ""}\n`,
    );
  if (bytes !== undefined) printText(`${to}: ${influence.length - dropped.length} layers, ${formatBytes(bytes)}\n`);
}

function tellExperts(to: string, { saliency, kept, blocks, bytes }: PrunedExperts, flags: PruneFlags): void {
  const layers = saliency.map(({ layer, scores, tokens }) => ({
    layer,
    kept: [...kept.get(layer)!],
    scores: [...scores],
    tokens: [...tokens],
  }));
  if (flags.json) {
    printJson({ path: to, layers, guessingBlocksDropped: blocks, ...(bytes !== undefined && { bytes }) });
    return;
  }
  for (const { layer, kept: stays, scores, tokens } of layers) {
    const goes = [...scores.keys()].filter((expert) => !stays.includes(expert));
    const sum = (of: readonly number[]) => of.reduce((total, expert) => total + tokens[expert]!, 0);
    const share = sum(goes) / Math.max(1, sum([...scores.keys()]));
    const percent = (100 * share).toFixed(1);
    printText(`layer ${String(layer).padStart(3)}  ${percent} % of the choices go, with ${goes.join(" ")}\n`);
  }
  if (blocks > 0) printText(`${blocks} block(s) that guess further tokens are left out\n`);
  if (bytes !== undefined) printText(`${to}: ${flags.experts} experts in each layer, ${formatBytes(bytes)}\n`);
}

async function tieHead(word: string, to: string, flags: PruneFlags, signal: AbortSignal): Promise<void> {
  const checkpoint = openGguf(modelFile(word));
  refuseSelf(checkpoint, to);
  const pruned = await withTiedHead(checkpoint);
  const saved = storedBytes(checkpoint.tensors.get("output.weight")!.planes);
  const bytes = flags.dryRun ? undefined : await writePruned(to, pruned, signal);
  if (flags.json) return printJson({ path: to, savedBytes: saved, ...(bytes !== undefined && { bytes }) });
  printText(`${to}: ${formatBytes(saved)} less${bytes === undefined ? "" : `, ${formatBytes(bytes)}`}\n`);
}

/** Channels or groups of heads instead of layers. */
async function cutColumns(word: string, to: string, flags: PruneFlags, signal: AbortSignal): Promise<void> {
  const { ffn, kvGroups } = flags;
  if (flags.moments === undefined) {
    const option = ffn === undefined ? "--kv-groups" : "--ffn";
    throw new HundredweightError("OPTION_INVALID", `${option} needs --moments FILE, as \`calibrate\` writes it`);
  }
  const checkpoint = openGguf(modelFile(word));
  refuseSelf(checkpoint, to);
  const moments = openMoments(flags.moments);
  const options = { repair: flags.repair, ...(flags.threads !== undefined && { threads: flags.threads }) };
  const pruned = await (ffn === undefined
    ? withoutKvGroups(checkpoint, moments, kvGroups!, options)
    : withoutChannels(checkpoint, moments, ffn, options));
  const bytes = flags.dryRun ? undefined : await writePruned(to, pruned, signal);
  const kept = ffn === undefined ? { kvGroups } : { channels: ffn };
  if (flags.json) return printJson({ path: to, ...kept, ...(bytes !== undefined && { bytes }) });
  const what = ffn === undefined ? `${kvGroups} heads of keys and values` : `${ffn} channels`;
  if (bytes !== undefined) printText(`${to}: ${what} in each layer, ${formatBytes(bytes)}\n`);
}

async function chunksFrom(checkpoint: ReturnType<typeof openGguf>, flags: PruneFlags): Promise<Int32Array[]> {
  const all: Int32Array[] = [];
  for (const name of flags.text) {
    const source = new TokenSource(checkpoint.path, name);
    await source.open();
    let count = 0;
    for (const chunk of chunksOf([source], chunkTokens)) {
      all.push(chunk);
      if (++count === flags.chunks) break;
    }
  }
  return all;
}
