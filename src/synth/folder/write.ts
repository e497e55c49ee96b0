/** Random models as folders of Hugging Face, quantized in whichever way, streamed: memory stays small at any size. */
import { randomBytes } from "node:crypto";
import { mkdir, rename, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pytorchBytes } from "../../containers/pytorch/write.js";
import { safetensorsBytes } from "../../containers/safetensors/write.js";
import type { SourceTensor } from "../../containers/stored/write-source.js";
import { asHundredweightError, HundredweightError } from "../../errors.js";
import { FileSink } from "../../formats/file-sink.js";
import { checkRoom } from "../../formats/room.js";
import { fillOf, type SynthModel, type WriteSynthOptions } from "../synth.js";
import { syntheticVocabulary } from "../vocabulary.js";
import { folderConfig, folderTokenizer, moduleOf } from "./describe.js";
import { type FolderKind, folderKinds, plain } from "./kinds.js";
import { Pools } from "./pools.js";

export type FolderOptions = WriteSynthOptions & { readonly seed?: number; readonly shardBytes?: number };

/** As transformers writes them. */
const defaultShardBytes = 5e9;

/** @throws OPTION_INVALID naming what there is */
export function parseFolderKind(name: string): FolderKind {
  const kind = Object.hasOwn(folderKinds, name) ? folderKinds[name] : undefined;
  if (kind !== undefined) return kind;
  throw new HundredweightError("OPTION_INVALID", `'${name}' is not one of ${Object.keys(folderKinds).join(", ")}`);
}

/** Matrices that quantizers leave alone. */
const kept = new Set(["norm", "router", "embedding", "head"]);

/** The tensors of a model in the order of its declaration, experts one by one. */
export function folderTensors(model: SynthModel, kind: FolderKind, seed: number): SourceTensor[] {
  const pools = new Pools(seed);
  const { layers } = model.spec.config;
  const dtype = kind === folderKinds.f32 ? "F32" : kind === folderKinds.f16 ? "F16" : "BF16";
  return model.tensors.flatMap((tensor): SourceTensor[] => {
    const { name, shape, role } = tensor;
    // config.json says what these follow from.
    if (name === "rope_freqs.weight") return [];
    const module = moduleOf(name);
    const { mean, deviation } = fillOf(tensor, layers);
    if (tensor.kind === "vector") return [vector(name, module, dtype, shape, mean, deviation, pools)];
    const [cols, rows, experts] = shape as [number, number, number?];
    const whole = !kept.has(role) && cols % kind.group === 0 && rows % 32 === 0;
    const make = (at: string) => {
      const matrix = { name: at, rows, cols, deviation };
      return whole ? kind.make(matrix, pools) : [plain(dtype, matrix, pools)];
    };
    if (experts === undefined) return make(module);
    return Array.from({ length: experts }, (_, e) => make(module.replace(".E.", `.${e}.`))).flat();
  });
}

function vector(
  name: string,
  module: string,
  dtype: "BF16" | "F16" | "F32",
  shape: readonly number[],
  mean: number,
  deviation: number,
  pools: Pools,
): SourceTensor {
  const cols = shape[0]!;
  const ending = name.endsWith(".bias") ? "bias" : "weight";
  const made = plain(dtype, { name: module, rows: 1, cols, deviation }, pools, mean);
  return { ...made, name: `${module}.${ending}`, shape: [cols] };
}

/**
 * Writes a folder, whole or not at all.
 * @param name of the kind (`folderKinds`)
 * @returns bytes written
 * @throws OPTION_INVALID, FILE_IO, CANCELLED
 */
export async function writeSynthFolder(
  path: string,
  model: SynthModel,
  name: string,
  options: FolderOptions = {},
): Promise<number> {
  const kind = parseFolderKind(name);
  const config = folderConfig(model.shape, kind.quantization);
  const tensors = folderTensors(model, kind, options.seed ?? 1);
  const total = tensors.reduce((sum, { bytes }) => sum + bytes, 0);
  if ((await stat(path).catch(() => undefined)) !== undefined)
    throw new HundredweightError("FILE_IO", `${path}: is there already; name a folder that is not`, { path });
  await checkRoom(path, total);
  const temporary = `${path.replace(/[/\\]+$/, "")}.${randomBytes(6).toString("hex")}.partial`;
  const small = { ...folderTokenizer(syntheticVocabulary(model.shape.vocab, "gpt-2")) };
  try {
    await mkdir(temporary);
    for (const [file, text] of Object.entries({ ...small, "config.json": JSON.stringify(config, null, 2) }))
      await writeFile(join(temporary, file), text);
    const written = await writeShards(temporary, tensors, name === "pytorch", total, options);
    await rename(temporary, path);
    return written;
  } catch (error) {
    await rm(temporary, { recursive: true, force: true }).catch(() => {});
    throw asHundredweightError(error, "FILE_IO");
  }
}

async function writeShards(
  folder: string,
  tensors: readonly SourceTensor[],
  pytorch: boolean,
  total: number,
  options: FolderOptions,
): Promise<number> {
  const shards: SourceTensor[][] = [[]];
  let filled = 0;
  for (const tensor of tensors) {
    if (filled > 0 && filled + tensor.bytes > (options.shardBytes ?? defaultShardBytes)) {
      shards.push([]);
      filled = 0;
    }
    shards.at(-1)!.push(tensor);
    filled += tensor.bytes;
  }
  const [stem, ending, bytesOf] = pytorch
    ? (["pytorch_model", "bin", pytorchBytes] as const)
    : (["model", "safetensors", safetensorsBytes] as const);
  const number = (i: number) => String(i).padStart(5, "0");
  const weightMap: Record<string, string> = {};
  let written = 0;
  for (const [i, own] of shards.entries()) {
    const name =
      shards.length === 1 ? `${stem}.${ending}` : `${stem}-${number(i + 1)}-of-${number(shards.length)}.${ending}`;
    for (const tensor of own) weightMap[tensor.name] = name;
    const before = written;
    written += await writeChunks(join(folder, name), bytesOf(own), total > directFrom, (done) => {
      if (options.signal?.aborted) throw new HundredweightError("CANCELLED", `${folder}: writing was cancelled`);
      options.onProgress?.(Math.min(before + done, total), total);
    });
  }
  if (shards.length > 1)
    await writeFile(
      join(folder, `${stem}.${ending}.index.json`),
      JSON.stringify({ metadata: { total_size: total }, weight_map: weightMap }),
    );
  return written;
}

/** A small model will be read soon and may stay in the page cache. */
const directFrom = 256 * 2 ** 20;

async function writeChunks(
  path: string,
  chunks: Iterable<Uint8Array>,
  direct: boolean,
  onChunk: (done: number) => void,
): Promise<number> {
  const sink = await FileSink.open(path, "wx", direct);
  try {
    let done = 0;
    for (const chunk of chunks) {
      await sink.write(chunk);
      done += chunk.length;
      onChunk(done);
    }
    await sink.end(true);
    return done;
  } finally {
    await sink.close();
  }
}
