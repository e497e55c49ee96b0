/** Writes GGUF version 3, streaming: a tensor's bytes come from a callback and pass through one small buffer. */
import { randomBytes } from "node:crypto";
import { realpath, stat, unlink } from "node:fs/promises";
import { asHundredweightError, HundredweightError } from "../errors.js";
import { checkOutput } from "../regular-file.js";
import { replaceFile } from "../replace-file.js";
import { limits } from "./cursor.js";
import { blocksBytes, type Dtype } from "./dtypes.js";
import { FileSink } from "./file-sink.js";
import { ByteSink, encodeValue } from "./gguf-encode.js";
import { defaultAlignment } from "./gguf-read.js";
import type { TypedValue } from "./metadata.js";

export type Chunks = Iterable<Uint8Array> | AsyncIterable<Uint8Array>;

/** A tensor to write. The chunks of `data` together are exactly its bytes; a callback is called when its turn comes. */
export interface TensorSource {
  readonly name: string;
  readonly dtype: Dtype;
  /** shape[0] varies fastest. */
  readonly shape: readonly number[];
  readonly data: Uint8Array | Chunks | (() => Uint8Array | Chunks);
}

export interface GgufContent {
  readonly metadata: Iterable<readonly [string, TypedValue]>;
  readonly tensors: readonly TensorSource[];
  /** Default: general.alignment of the metadata, else 32. A given one is written as general.alignment. */
  readonly alignment?: number;
}

export interface WriteOptions {
  readonly signal?: AbortSignal;
  /** Past the page cache, for files so large that they would push everything else out of it. Default false. */
  readonly direct?: boolean;
  /** Called after each tensor. */
  readonly onProgress?: (doneBytes: number, totalBytes: number) => void;
}

/**
 * Writes `path` whole or not at all: the bytes go to a temporary file beside it, which is renamed at the end and
 * removed on any failure. Offsets are the padded running total, the layout llama.cpp insists on.
 * @returns bytes written
 * @throws FILE_IO (disk full, permission), FILE_NOT_REGULAR, MODEL_INVALID (what GGUF cannot express), CANCELLED, what
 *   a callback throws
 */
export async function writeGguf(path: string, content: GgufContent, options: WriteOptions = {}): Promise<number> {
  const plan = planGguf(path, content);
  const target = await realpath(path).catch(() => path);
  // A device such as /dev/null is written to; renaming over it would replace it.
  const found = await stat(target).catch(() => undefined);
  if (found !== undefined && !found.isDirectory()) checkOutput(path, found);
  const device = found?.isCharacterDevice() === true;
  const temporary = device ? target : `${target}.${randomBytes(6).toString("hex")}.partial`;
  const file = await io(path, () => FileSink.open(temporary, device ? "w" : "wx", !device && options.direct === true));
  let closed = false;
  try {
    const bytes = await writeContent(path, file, plan, options);
    // Some file systems report a full disk only when they have to put it there.
    await io(path, () => file.end(!device));
    closed = true;
    await io(path, () => file.close());
    if (!device) await io(path, () => replaceFile(temporary, target));
    return bytes;
  } catch (error) {
    if (!closed) await file.close().catch(() => {});
    if (!device) await unlink(temporary).catch(() => {});
    throw asHundredweightError(error);
  }
}

/** @param kept what became of the bytes that were written @throws FILE_IO for what the system says of writing */
export async function io<T>(path: string, action: () => Promise<T>, kept = "nothing was kept"): Promise<T> {
  try {
    return await action();
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    const why = code === "ENOSPC" ? "the disk is full" : message;
    throw new HundredweightError("FILE_IO", `${path}: writing failed: ${why}; ${kept}`, { code }, { cause });
  }
}

/** Where everything of a file comes to lie. */
export interface GgufPlan {
  /** Header, metadata and directory, padded to the data section. */
  readonly head: Uint8Array;
  readonly alignment: number;
  readonly tensors: readonly { readonly source: TensorSource; readonly bytes: number }[];
  readonly totalBytes: number;
}

/** @param path begins the error messages @throws MODEL_INVALID (what GGUF cannot express) */
export function planGguf(path: string, content: GgufContent): GgufPlan {
  const invalid = (message: string) =>
    new HundredweightError("MODEL_INVALID", `${path}: cannot be written: ${message}`);
  const metadata = new Map<string, TypedValue>();
  for (const [key, value] of content.metadata) {
    const bytes = Buffer.byteLength(key);
    if (bytes === 0 || bytes > limits.keyBytes) throw invalid(`metadata key of ${bytes} bytes`);
    if (metadata.has(key)) throw invalid(`metadata '${key}' is given twice`);
    metadata.set(key, value);
  }
  const alignment = content.alignment ?? Number(metadata.get("general.alignment")?.value ?? defaultAlignment);
  if (!Number.isInteger(Math.log2(alignment)) || alignment < 1 || alignment > limits.alignment) {
    throw invalid(`an alignment of ${alignment}; expected a power of two up to ${limits.alignment}`);
  }
  // llama.cpp reads this key as u32 only.
  if (alignment !== defaultAlignment || metadata.has("general.alignment")) {
    metadata.set("general.alignment", { type: "u32", value: alignment });
  }
  if (metadata.size > limits.metadataKeys) throw invalid(`${metadata.size} metadata keys`);
  if (content.tensors.length > limits.tensors) throw invalid(`${content.tensors.length} tensors`);

  const sink = new ByteSink();
  sink.bytes(Buffer.from("GGUF"));
  sink.u32(3);
  sink.u64(content.tensors.length);
  sink.u64(metadata.size);
  for (const [key, value] of metadata) {
    sink.string(key);
    encodeValue(sink, value, (message) => invalid(`metadata '${key}': ${message}`));
  }
  const names = new Set<string>();
  let offset = 0;
  const tensors = content.tensors.map((source) => {
    const what = `tensor '${source.name}'`;
    if (names.has(source.name)) throw invalid(`${what} is given twice`);
    names.add(source.name);
    if (Buffer.byteLength(source.name) > limits.tensorNameBytes) {
      throw invalid(`${what} has a name of more than ${limits.tensorNameBytes} bytes`);
    }
    if (source.shape.length > limits.dims) throw invalid(`${what} has ${source.shape.length} dimensions`);
    if (source.shape.some((size) => !Number.isSafeInteger(size) || size < 1)) {
      throw invalid(`${what} has shape [${source.shape.join(", ")}]`);
    }
    const row = blocksBytes(source.dtype, source.shape[0] ?? 1);
    if (row === undefined) {
      throw invalid(`${what} has rows of ${source.shape[0]}, no whole number of ${source.dtype.name} blocks`);
    }
    const bytes = source.shape.slice(1).reduce((product, size) => product * size, row);
    sink.string(source.name);
    sink.u32(source.shape.length);
    for (const size of source.shape) sink.u64(size);
    sink.u32(source.dtype.id);
    sink.u64(offset);
    offset += padded(bytes, alignment);
    if (!Number.isSafeInteger(offset)) throw invalid(`${what} ends beyond 2^53 bytes`);
    return { source, bytes };
  });
  sink.zeros(padded(sink.length, alignment) - sink.length);
  return { head: sink.take(), alignment, tensors, totalBytes: offset };
}

export const padded = (bytes: number, alignment: number) => Math.ceil(bytes / alignment) * alignment;

async function writeContent(path: string, file: FileSink, plan: GgufPlan, options: WriteOptions): Promise<number> {
  const write = (bytes: Uint8Array) => io(path, () => file.write(bytes));
  await write(plan.head);
  let done = 0;
  for (const { source, bytes } of plan.tensors) {
    let got = 0;
    for await (const chunk of chunksOf(source)) {
      if (options.signal?.aborted) throw new HundredweightError("CANCELLED", `${path}: writing was cancelled`);
      got += chunk.length;
      if (got > bytes) break;
      await write(chunk);
    }
    if (got !== bytes) {
      const message = `tensor '${source.name}' needs ${bytes} bytes but its source gave ${got > bytes ? "more" : got}`;
      throw new HundredweightError("INTERNAL", `${path}: ${message}`);
    }
    await write(new Uint8Array(padded(bytes, plan.alignment) - bytes));
    done += padded(bytes, plan.alignment);
    options.onProgress?.(done, plan.totalBytes);
  }
  return plan.head.length + done;
}

export function chunksOf(source: TensorSource): Chunks {
  const data = typeof source.data === "function" ? source.data() : source.data;
  return data instanceof Uint8Array ? [data] : data;
}
