/** A GGUF model in other types, as it is planned: what llama-quantize writes. */

import { HundredweightError } from "../errors.js";
import {
  blocksBytes,
  type Dtype,
  type GgufCheckpoint,
  onlyExtent,
  type TensorInfo,
  type TypedValue,
} from "../formats/index.js";
import { feedbackBytes, type MomentUse, momentUse, usualFeedbackBytes } from "./feedback.js";
import type { Importance } from "./importance.js";
import { mixFileType } from "./mix.js";
import { type Moments, misfitMoments } from "./moments.js";
import { mixModelOf, needsImportance, type PlannedType, planTypes, type TypeWishes } from "./type-plan.js";

export interface QuantizeWishes extends Omit<TypeWishes, "weighed"> {
  readonly importance?: Importance;
  /** Moments of a calibration: codes are chosen with error feedback where they have an entry. */
  readonly moments?: Moments;
  /** Bytes that feedback may take for a matrix; where it is too little, moments are of fewer columns together. */
  readonly feedbackBytes?: number;
  /** Types of blocks may become other such types. */
  readonly requantize?: boolean;
  /** As many files as the model has. */
  readonly keepSplit?: boolean;
}

export interface PlannedTensor extends PlannedType {
  readonly bytes: number;
  readonly importance: Float32Array | undefined;
  readonly moments?: MomentUse | undefined;
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
    const moments = type.from === type.to ? undefined : momentsFor(wishes, type.tensor, type.to);
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

/**
 * The moments of a calibration as a matrix takes them.
 * @throws OPTION_INVALID where there are other columns than the matrix has
 */
export function momentsFor(
  { moments, feedbackBytes: bytes = usualFeedbackBytes }: Pick<QuantizeWishes, "moments" | "feedbackBytes">,
  tensor: TensorInfo,
  to: Dtype,
): MomentUse | undefined {
  const entry = moments?.entries.get(tensor.name);
  if (moments === undefined || entry === undefined) return undefined;
  const matrices = tensor.shape.slice(2).reduce((a, b) => a * b, 1);
  if (entry.cols === tensor.shape[0] && (entry.rows.length === 1 || entry.rows.length === matrices))
    return momentUse(entry, to, bytes);
  throw misfitMoments(moments, entry, tensor.name, tensor.shape[0]);
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

export function shardPath(path: string, shard: number, shards: number): string {
  const five = (n: number) => String(n).padStart(5, "0");
  return `${path.replace(/\.gguf$/i, "")}-${five(shard + 1)}-of-${five(shards)}.gguf`;
}
