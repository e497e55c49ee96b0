/** A GGUF model in other types: what llama-quantize writes, byte for byte, in little memory whatever its size. */

import { HundredweightError } from "../errors.js";
import {
  blocksBytes,
  type GgufCheckpoint,
  onlyExtent,
  type TensorSource,
  type TypedValue,
  writeGguf,
} from "../formats/index.js";
import { requireAddon } from "../native/addon.js";
import { type EncodeMeans, encodeTensor } from "./encode-tensor.js";
import { Factors, feedbackBytes, takesFeedback } from "./feedback.js";
import type { Importance } from "./importance.js";
import { mixFileType } from "./mix.js";
import type { MomentEntry, Moments } from "./moments.js";
import { SourceFiles } from "./source-files.js";
import { mixModelOf, needsImportance, type PlannedType, planTypes, type TypeWishes } from "./type-plan.js";

export interface QuantizeWishes extends Omit<TypeWishes, "weighed"> {
  readonly importance?: Importance;
  /** Moments of a calibration: codes are chosen with error feedback where they have an entry. */
  readonly moments?: Moments;
  /** Types of blocks may become other such types. */
  readonly requantize?: boolean;
  /** As many files as the model has. */
  readonly keepSplit?: boolean;
}

export interface PlannedTensor extends PlannedType {
  readonly bytes: number;
  readonly importance: Float32Array | undefined;
  readonly moments?: MomentEntry | undefined;
}

export interface PlannedFile {
  readonly metadata: ReadonlyMap<string, TypedValue>;
  readonly tensors: readonly PlannedTensor[];
}

export interface QuantizePlan {
  readonly files: readonly PlannedFile[];
  /** In the order in which they are written. */
  readonly tensors: readonly PlannedTensor[];
  readonly values: number;
  readonly sourceBytes: number;
  /** Bytes of all tensors, without padding and metadata. */
  readonly bytes: number;
  /** Matrices of the layers to encode for which the importance matrix says nothing. */
  readonly unweighed: readonly string[];
  /** Those whose type would be of no use without importance, and that have none. */
  readonly lacking: readonly string[];
  /** Those of the wishes; `feedbackBytes` is what error feedback takes in memory at most. */
  readonly moments?: Moments | undefined;
  readonly feedbackBytes: number;
}

/**
 * Decides what becomes of every tensor. Nothing is read but the descriptions.
 * @throws OPTION_INVALID for types of blocks that are to become others, and importance that does not fit
 */
export function planQuantize(checkpoint: GgufCheckpoint, wishes: QuantizeWishes): QuantizePlan {
  const { importance, mix } = wishes;
  const ordered = inOrder(checkpoint, wishes.keepSplit === true);
  const types = planTypes({ ...wishes, weighed: importance !== undefined }, mixModelOf(checkpoint.metadata), ordered);
  if (!wishes.requantize) refuseRequantizing(types);
  const unweighed: string[] = [];
  const lacking: string[] = [];
  const tensors = types.map((type): PlannedTensor => {
    const columns = importance === undefined ? undefined : columnsFor(importance, type);
    if (type.from !== type.to && columns === undefined) {
      if (importance !== undefined && isInLayers(type.tensor.name)) unweighed.push(type.tensor.name);
      if (needsImportance(type.tensor.name, type.to, mix)) lacking.push(type.tensor.name);
    }
    const [cols = 1, ...rest] = type.tensor.shape;
    const moments = wishes.moments && type.from !== type.to ? momentsFor(wishes.moments, type) : undefined;
    return {
      ...type,
      bytes: rest.reduce((a, b) => a * b, blocksBytes(type.to, cols)!),
      importance: columns,
      ...(moments && { moments }),
    };
  });
  const shardOf = new Map(checkpoint.shards.flatMap(({ tensors: t }, i) => t.map(({ name }) => [name, i] as const)));
  const shards = wishes.keepSplit && checkpoint.shards.length > 1 ? checkpoint.shards.length : 1;
  const files = Array.from({ length: shards }, (_, i) => ({
    metadata: metadataOf(checkpoint, wishes, shards, i),
    tensors: shards === 1 ? tensors : tensors.filter(({ tensor }) => shardOf.get(tensor.name) === i),
  }));
  const sum = (of: (tensor: PlannedTensor) => number) => tensors.reduce((total, tensor) => total + of(tensor), 0);
  return {
    files,
    tensors,
    values: sum(({ tensor }) => tensor.shape.reduce((a, b) => a * b, 1)),
    sourceBytes: sum(({ tensor }) => onlyExtent(tensor).bytes),
    bytes: sum(({ bytes }) => bytes),
    unweighed,
    lacking,
    moments: wishes.moments,
    feedbackBytes: tensors.reduce((most, { moments }) => Math.max(most, moments ? feedbackBytes(moments) : 0), 0),
  };
}

/** Importance is of matrices of the layers; tables and heads have none. */
const isInLayers = (name: string) => name.startsWith("blk.");
const isTable = (name: string) => /^(per_layer_)?token_embd\.weight$/.test(name);

/** Blocks in order and by name, as llama-quantize writes them; with the shards kept, in the order of the files. */
function inOrder({ tensors }: GgufCheckpoint, keepSplit: boolean) {
  const all = [...tensors.values()];
  if (keepSplit) return all;
  const layer = (name: string) => Number(/^blk\.(\d+)\./.exec(name)?.[1] ?? -1);
  return all.sort((a, b) => layer(a.name) - layer(b.name) || (a.name < b.name ? -1 : 1));
}

function refuseRequantizing(types: readonly PlannedType[]): void {
  const again = types.find(({ from, to }) => from !== to && from.blockValues > 1);
  if (again === undefined) return;
  throw new HundredweightError(
    "OPTION_INVALID",
    `'${again.tensor.name}' is of type ${again.from.name} already: making it ${again.to.name} adds the damage of ` +
      "both; take the model in F16, BF16 or F32, or use --requantize",
    { tensor: again.tensor.name, from: again.from.name, to: again.to.name },
  );
}

/** @throws OPTION_INVALID where there are other columns than the matrix has */
function columnsFor(importance: Importance, { tensor }: PlannedType): Float32Array | undefined {
  const columns = importance.columns.get(tensor.name);
  const wanted = tensor.shape[0]! * (tensor.shape[2] ?? 1);
  if (columns === undefined || columns.length === wanted) return columns;
  if (isTable(tensor.name)) return undefined;
  throw new HundredweightError(
    "OPTION_INVALID",
    `${importance.path}: has ${columns.length} values for '${tensor.name}', which needs ${wanted}: ` +
      "it was made from another model",
  );
}

/** @throws OPTION_INVALID where there are other columns than the matrix has */
function momentsFor({ path, entries }: Moments, { tensor, to }: PlannedType): MomentEntry | undefined {
  const entry = entries.get(tensor.name);
  if (entry === undefined || !takesFeedback(to) || entry.block % Math.max(32, to.blockValues) !== 0) return undefined;
  const matrices = tensor.shape.slice(2).reduce((a, b) => a * b, 1);
  if (entry.cols === tensor.shape[0] && (entry.rows.length === 1 || entry.rows.length === matrices)) return entry;
  throw new HundredweightError(
    "OPTION_INVALID",
    `${path}: has moments of ${entry.cols} columns for '${tensor.name}' with ${tensor.shape[0]}: ` +
      "it was made from another model",
  );
}

const splitKeys: readonly string[] = ["split.no", "split.count", "split.tensors.count"];
/** llama.cpp holds no more bytes of a text that is given on its command line. */
const textBytes = 127;

function metadataOf(checkpoint: GgufCheckpoint, wishes: QuantizeWishes, shards: number, shard: number) {
  const metadata = new Map<string, TypedValue>(shard === 0 ? checkpoint.metadata.entries() : []);
  for (const key of splitKeys) metadata.delete(key);
  // What is said anew stands at the end.
  const put = (key: string, value: TypedValue): void => {
    metadata.delete(key);
    metadata.set(key, value);
  };
  if (shard === 0) {
    put("general.quantization_version", { type: "u32", value: 2 });
    put("general.file_type", { type: "u32", value: mixFileType(wishes.mix) });
    const { importance } = wishes;
    const text = (value: string): TypedValue => ({
      type: "string",
      value: Buffer.from(value).subarray(0, textBytes).toString("utf8"),
    });
    if (importance !== undefined) {
      put("quantize.imatrix.file", text(importance.path));
      if (importance.datasets[0] !== undefined) put("quantize.imatrix.dataset", text(importance.datasets[0]));
      put("quantize.imatrix.entries_count", { type: "u32", value: importance.columns.size });
      if (importance.chunks > 0) put("quantize.imatrix.chunks_count", { type: "u32", value: importance.chunks });
    }
  }
  if (shards > 1) {
    put("split.no", { type: "u16", value: shard });
    put("split.count", { type: "u16", value: shards });
    put("split.tensors.count", { type: "i32", value: checkpoint.tensors.size });
  }
  return metadata;
}

export interface QuantizeOptions {
  readonly threads: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (doneBytes: number, totalBytes: number, tensor: string) => void;
}

/** Larger files should not push everything else out of the page cache. */
const directFrom = 256 * 2 ** 20;

/**
 * Writes the files of a plan, each whole or not at all.
 * @returns their paths and bytes
 * @throws NATIVE_UNAVAILABLE, MODEL_INVALID for values that are no numbers, FILE_IO, CANCELLED
 */
export async function writeQuantized(path: string, plan: QuantizePlan, options: QuantizeOptions) {
  const files = new SourceFiles();
  const addon = requireAddon();
  const means: EncodeMeans = {
    addon,
    threads: options.threads,
    ...(plan.moments && { factors: new Factors(addon, plan.moments, options.threads) }),
    files,
  };
  let done = 0;
  const sources = ({ tensors }: PlannedFile): TensorSource[] =>
    tensors.map((planned) => ({
      name: planned.tensor.name,
      dtype: planned.to,
      shape: withoutOnes(planned.tensor.shape),
      data: async function* () {
        for await (const bytes of encodeTensor(planned, means)) {
          if (options.signal?.aborted) throw new HundredweightError("CANCELLED", `${path}: quantizing was cancelled`);
          yield bytes;
          done += bytes.length;
          options.onProgress?.(done, plan.bytes, planned.tensor.name);
        }
      },
    }));
  try {
    const written: { path: string; bytes: number }[] = [];
    for (const [i, file] of plan.files.entries()) {
      const to = plan.files.length === 1 ? path : shardPath(path, i, plan.files.length);
      const bytes = await writeGguf(
        to,
        { metadata: file.metadata, tensors: sources(file) },
        { direct: plan.bytes > directFrom, ...(options.signal && { signal: options.signal }) },
      );
      written.push({ path: to, bytes });
    }
    return written;
  } finally {
    await files.close();
  }
}

/** As ggml counts dimensions. */
function withoutOnes(shape: readonly number[]): readonly number[] {
  let length = shape.length;
  while (length > 1 && shape[length - 1] === 1) length--;
  return shape.slice(0, length);
}

export function shardPath(path: string, shard: number, shards: number): string {
  const five = (n: number) => String(n).padStart(5, "0");
  return `${path.replace(/\.gguf$/i, "")}-${five(shard + 1)}-of-${five(shards)}.gguf`;
}
