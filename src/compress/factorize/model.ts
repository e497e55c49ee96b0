/** A GGUF model in which matrices are two factors: the same tensors, but for those. */
import { HundredweightError } from "../../errors.js";
import {
  blocksBytes,
  type Dtype,
  dtypeByName,
  dtypeOf,
  type GgufCheckpoint,
  onlyExtent,
  planGguf,
  type TensorInfo,
  type TensorSource,
  writeGguf,
} from "../../formats/index.js";
import { describeModel, factorSuffixes } from "../../models/index.js";
import { requireAddon } from "../../native/addon.js";
import { defaultThreads } from "../../native/threads.js";
import { encodeValues } from "../encode-values.js";
import { type Moments, misfitMoments } from "../moments.js";
import { SourceFiles } from "../source-files.js";
import { type Factors, factorsOf } from "./factors.js";
import { InputMoments } from "./input-moments.js";

export interface FactorizeOptions {
  /** The same for all matrices it makes smaller; or the size of the file. */
  readonly size: { readonly rank: number } | { readonly bytes: number };
  /** Which matrices, by name; all of the layers by default. */
  readonly only?: RegExp;
  /** The type of factors; default that of the matrix, F16 where it is quantized. */
  readonly type?: Dtype;
  readonly moments?: Moments;
  readonly threads?: number;
  readonly signal?: AbortSignal;
  readonly onMatrix?: (done: number, all: number) => void;
}

/** A matrix that becomes two. */
export interface FactorizedMatrix {
  readonly name: string;
  readonly rank: number;
  /** Share of tr(W H W'), before the factors are rounded to their type. */
  readonly lost: number;
}

export interface Factorized {
  readonly matrices: readonly FactorizedMatrix[];
  /** Matrices that were asked for and stay, since two factors would be no smaller. */
  readonly kept: number;
  readonly bytes: number;
}

const refuse = (what: string): HundredweightError => new HundredweightError("OPTION_INVALID", what);
/** Ranks that are made for a size are multiples of it, so that factors have whole blocks of 32. */
const step = 32;

/**
 * One matrix is in memory as F32 at a time, with its moments.
 * @param path file to write; none: it is only said what it would be, without what is lost
 * @throws OPTION_INVALID, MODEL_INVALID for values that are not finite, CANCELLED, FILE_IO
 */
export async function factorizeModel(
  checkpoint: GgufCheckpoint,
  path: string | undefined,
  options: FactorizeOptions,
): Promise<Factorized> {
  const { moments, only, size, signal, threads = defaultThreads() } = options;
  const wanted = candidates(checkpoint).filter(({ name }) => only?.test(name) ?? true);
  if (wanted.length === 0) throw refuse("no matrix of the layers that rows are multiplied with has such a name");
  for (const { name, shape } of wanted) {
    const entry = moments?.entries.get(name);
    if (moments === undefined) continue;
    if (entry === undefined || !(entry.rows[0]! > 0)) throw refuse(`${moments.path}: says nothing of '${name}'`);
    if (entry.cols !== shape[0]) throw misfitMoments(moments, entry, name, shape[0]);
  }
  const ranks = "rank" in size ? ranksOf(wanted, () => size.rank) : ranksFor(checkpoint, wanted, options, size.bytes);
  if (ranks.size === 0) throw refuse("no matrix becomes smaller by this rank");
  const files = new SourceFiles();
  const found: FactorizedMatrix[] = [];
  const make = async (tensor: TensorInfo, rank: number): Promise<Factors> => {
    // Signals are heard between matrices.
    await new Promise(setImmediate);
    if (signal?.aborted) throw new HundredweightError("CANCELLED", "factorizing was cancelled");
    const values = await valuesOf(tensor, files);
    const entry = moments?.entries.get(tensor.name);
    const factors = factorsOf(values, tensor.shape[0]!, rank, entry && new InputMoments(moments!, entry));
    found.push({ name: tensor.name, rank, lost: factors.lost });
    options.onMatrix?.(found.length, ranks.size);
    return factors;
  };
  const content = contentOf(checkpoint, ranks, options.type, { make, files, threads });
  try {
    const bytes =
      path === undefined ? fileBytes(content) : await writeGguf(path, content, { ...(signal && { signal }) });
    const matrices = path === undefined ? [...ranks].map(([name, rank]) => ({ name, rank, lost: Number.NaN })) : found;
    return { matrices, kept: wanted.length - ranks.size, bytes };
  } finally {
    await files.close();
  }
}

/** Matrices of the layers that rows are multiplied with, as the file has them. */
function candidates(checkpoint: GgufCheckpoint): TensorInfo[] {
  const { program } = describeModel(checkpoint, undefined, { readOnly: true });
  const names = new Set<string>();
  const others = new Set<string>();
  for (const call of program.calls) {
    if (call.verb === "headLinear") others.add(call.weight.tensor.name);
    if (call.verb !== "linear" || call.hint) continue;
    for (const { tensor, transposed } of call.weights)
      if (tensor.made === undefined && !transposed && tensor.layer >= 0 && tensor.role !== "router")
        names.add(tensor.name);
  }
  const suffix = new RegExp(`\\.(${Object.values(factorSuffixes).join("|")})$`);
  return [...checkpoint.tensors.values()].filter(
    ({ name, shape }) => names.has(name) && !others.has(name) && !suffix.test(name) && shape.length === 2,
  );
}

function ranksOf(wanted: readonly TensorInfo[], rankOf: (cols: number, rows: number) => number): Map<string, number> {
  const ranks = new Map<string, number>();
  for (const { name, shape } of wanted) {
    const [cols, rows] = shape as [number, number];
    const rank = rankOf(cols, rows);
    if (rank > 0 && rank * (cols + rows) < cols * rows) ranks.set(name, rank);
  }
  return ranks;
}

/** The largest share of all matrices' values with which the file is no larger. */
function ranksFor(
  checkpoint: GgufCheckpoint,
  wanted: readonly TensorInfo[],
  { type }: FactorizeOptions,
  bytes: number,
): Map<string, number> {
  const at = (share: number): Map<string, number> =>
    ranksOf(wanted, (cols, rows) => step * Math.max(1, Math.floor((share * cols * rows) / (cols + rows) / step)));
  const sizeOf = (share: number): number => fileBytes(contentOf(checkpoint, at(share), type));
  if (sizeOf(0) > bytes) throw refuse(`--bytes: with the least ranks the file has ${sizeOf(0)} bytes`);
  let [low, high] = [0, 1];
  for (let i = 0; i < 30; i++) {
    const middle = (low + high) / 2;
    if (sizeOf(middle) <= bytes) low = middle;
    else high = middle;
  }
  return at(low);
}

function fileBytes(content: ReturnType<typeof contentOf>): number {
  const { head, totalBytes } = planGguf("the result", content);
  return head.length + totalBytes;
}

interface Making {
  readonly make: (tensor: TensorInfo, rank: number) => Promise<Factors>;
  readonly files: SourceFiles;
  readonly threads: number;
}

function contentOf(
  checkpoint: GgufCheckpoint,
  ranks: ReadonlyMap<string, number>,
  type: Dtype | undefined,
  making?: Making,
) {
  const metadata = [...checkpoint.metadata.entries()].filter(([key]) => !key.startsWith("split."));
  const tensors = [...checkpoint.tensors.values()].flatMap((tensor): TensorSource[] => {
    const own = dtypeOf(tensor.layout);
    if (own === undefined) throw refuse(`'${tensor.name}' is of ${tensor.layout.name}; convert the model first`);
    const rank = ranks.get(tensor.name);
    if (rank === undefined) return [{ ...tensor, dtype: own, data: () => making!.files.pieces([onlyExtent(tensor)]) }];
    const dtype = type ?? (own.blockValues === 1 ? own : dtypeByName("F16")!);
    const [cols, rows] = tensor.shape as [number, number];
    for (const width of [cols, rank])
      if (blocksBytes(dtype, width) === undefined)
        throw refuse(`factors of '${tensor.name}' have rows of ${width}, no whole blocks of ${dtype.name}`);
    const { first, second } = factorSuffixes;
    let made: Promise<Factors> | undefined;
    const data = (which: "first" | "second") =>
      async function* (): AsyncGenerator<Uint8Array> {
        made ??= making!.make(tensor, rank);
        const values = (await made)[which];
        if (which === "second") made = undefined;
        yield encoded(tensor.name, values, which === "first" ? cols : rank, dtype, making!.threads);
      };
    return [
      { name: `${tensor.name}.${first}`, dtype, shape: [cols, rank], data: data("first") },
      { name: `${tensor.name}.${second}`, dtype, shape: [rank, rows], data: data("second") },
    ];
  });
  return { metadata, tensors };
}

async function valuesOf(tensor: TensorInfo, files: SourceFiles): Promise<Float32Array> {
  const values = new Float32Array(tensor.shape.reduce((product, size) => product * size, 1));
  const { file, offset, bytes } = onlyExtent(tensor);
  const raw = new Uint8Array(bytes);
  await files.read(file, offset, raw);
  requireAddon().dequantize(dtypeOf(tensor.layout)!.id, raw, values, null);
  if (!values.every(Number.isFinite))
    throw new HundredweightError("MODEL_INVALID", `tensor '${tensor.name}' has a value that is no finite number`);
  return values;
}

function encoded(name: string, values: Float32Array, cols: number, dtype: Dtype, threads: number): Uint8Array {
  const { bytes, bad } = encodeValues(dtype, values, cols, threads);
  if (bad >= 0) throw new HundredweightError("MODEL_INVALID", `factors of '${name}' are beyond what a float holds`);
  return bytes;
}
