/**
 * Reads every tensor of a model file from beginning to end and looks for blocks that are not finite, as fast as the
 * disk gives them.
 */
import { type FileHandle, open } from "node:fs/promises";
import { fileError, HundredweightError } from "../errors.js";
import { type Dtype, dtypeOf } from "./dtypes.js";
import type { Extent } from "./layouts.js";
import type { Checkpoint, TensorInfo } from "./types.js";
import { blockFinder } from "./verify.js";

export interface BadBlock {
  readonly tensor: string;
  readonly dtype: string;
  /** Counted over the whole tensor, and the row and the first column of its values. */
  readonly block: number;
  readonly row: number;
  readonly column: number;
  /** Defined in a stack of experts only. */
  readonly expert: number | undefined;
  readonly file: string;
  /** Where the block begins in the file. */
  readonly offset: number;
}

export interface VerifyReport {
  readonly tensors: number;
  readonly bytes: number;
  readonly badBlocks: number;
  /** The first so many. */
  readonly bad: readonly BadBlock[];
  /** Types that hold no numbers that could be wrong, or are not known here. */
  readonly unchecked: readonly string[];
}

export interface VerifyOptions {
  readonly signal?: AbortSignal;
  readonly onProgress?: (doneBytes: number, totalBytes: number, bad: number) => void;
}

const mostListed = 1000;
const readBytes = 4 * 2 ** 20;
/** Reads under way while what came before is looked at. */
const readsAhead = 4;

/**
 * @throws FILE_*, FORMAT_INVALID for a file that ends early, CANCELLED
 */
export async function verifyCheckpoint(checkpoint: Checkpoint, options: VerifyOptions = {}): Promise<VerifyReport> {
  const files = new Map<string, FileHandle>();
  const bad: BadBlock[] = [];
  const unchecked = new Set<string>();
  let [bytes, badBlocks, tensors] = [0, 0, 0];
  try {
    for (const tensor of inFileOrder(checkpoint)) {
      const dtype = dtypeOf(tensor.layout);
      if (dtype === undefined || blockFinder(dtype) === undefined) {
        unchecked.add(tensor.layout.name);
        continue;
      }
      tensors++;
      for await (const { block, offset, file, done } of badBlocksOf(tensor, dtype, files, options.signal)) {
        if (block !== undefined) {
          badBlocks++;
          if (bad.length < mostListed) bad.push(placed(tensor, dtype, block, file, offset));
          continue;
        }
        bytes += done;
        options.onProgress?.(bytes, checkpoint.tensorBytes, badBlocks);
      }
    }
  } finally {
    for (const handle of files.values()) await handle.close();
  }
  return { tensors, bytes, badBlocks, bad, unchecked: [...unchecked] };
}

function inFileOrder({ tensors }: Checkpoint): TensorInfo[] {
  const first = ({ planes }: TensorInfo): Extent => Object.values(planes)[0]![0]!;
  return [...tensors.values()].sort((a, b) => {
    const [x, y] = [first(a), first(b)];
    return x.file === y.file ? x.offset - y.offset : x.file < y.file ? -1 : 1;
  });
}

interface Found {
  /** Undefined: so many bytes have been looked at. */
  readonly block: number | undefined;
  readonly offset: number;
  readonly file: string;
  readonly done: number;
}

async function* badBlocksOf(
  tensor: TensorInfo,
  dtype: Dtype,
  files: Map<string, FileHandle>,
  signal: AbortSignal | undefined,
): AsyncGenerator<Found> {
  const find = blockFinder(dtype)!;
  const { blockBytes } = dtype;
  let before = 0;
  for (const extent of tensor.planes.blocks ?? []) {
    for await (const { data, at } of pieces(extent, Math.floor(readBytes / blockBytes) * blockBytes, files)) {
      if (signal?.aborted) throw new HundredweightError("CANCELLED", "stopped by the caller");
      for (let i = find(data, 0); i >= 0; i = find(data, i + 1)) {
        const offset = extent.offset + at + i * blockBytes;
        yield { block: before + at / blockBytes + i, offset, file: extent.file, done: 0 };
      }
      yield { block: undefined, offset: 0, file: extent.file, done: data.length };
    }
    before += extent.bytes / blockBytes;
  }
}

/** Pieces of an extent in order, the next ones being read meanwhile. */
async function* pieces(
  { file, offset, bytes }: Extent,
  pieceBytes: number,
  files: Map<string, FileHandle>,
): AsyncGenerator<{ readonly data: Uint8Array; readonly at: number }> {
  const handle = files.get(file) ?? (await opened(file));
  files.set(file, handle);
  const read = async (at: number, into: ArrayBuffer): Promise<{ data: Uint8Array; at: number; into: ArrayBuffer }> => {
    const data = new Uint8Array(into, 0, Math.min(pieceBytes, bytes - at));
    for (let got = 0; got < data.length; ) {
      const { bytesRead } = await handle.read(data, got, data.length - got, offset + at + got).catch((error) => {
        throw fileError(file, error);
      });
      if (bytesRead === 0)
        throw new HundredweightError("FORMAT_INVALID", `${file}: ends ${data.length - got} bytes early`, { file });
      got += bytesRead;
    }
    return { data, at, into };
  };
  const waiting: ReturnType<typeof read>[] = [];
  let next = 0;
  const ask = (into: ArrayBuffer): void => {
    if (next >= bytes) return;
    const asked = read(next, into);
    // Awaited in its turn; one before it may fail first.
    asked.catch(() => {});
    waiting.push(asked);
    next += pieceBytes;
  };
  for (let i = 0; i < readsAhead; i++) ask(new ArrayBuffer(Math.min(pieceBytes, bytes)));
  try {
    while (waiting.length > 0) {
      const { data, at, into } = await waiting.shift()!;
      yield { data, at };
      ask(into);
    }
  } finally {
    await Promise.allSettled(waiting);
  }
}

async function opened(file: string): Promise<FileHandle> {
  try {
    return await open(file, "r");
  } catch (error) {
    throw fileError(file, error);
  }
}

function placed(tensor: TensorInfo, dtype: Dtype, block: number, file: string, offset: number): BadBlock {
  const [cols = 1, rows = 1, experts = 1] = tensor.shape;
  const blocksPerRow = cols / dtype.blockValues;
  const row = Math.floor(block / blocksPerRow);
  return {
    tensor: tensor.name,
    dtype: dtype.name,
    block,
    row: row % rows,
    column: (block % blocksPerRow) * dtype.blockValues,
    expert: experts > 1 ? Math.floor(row / rows) : undefined,
    file,
    offset,
  };
}
