/**
 * The files of a quantize plan, tensor by tensor: whoever was killed goes on at the tensor he was at, and the bytes
 * are those of a run that was not.
 */
import { rmSync, statSync } from "node:fs";
import { crc32 } from "node:zlib";
import { type EncodeMeans, encodeMeans, encodeTensor } from "../compress/encode-tensor.js";
import { type PlannedFile, type PlannedTensor, type QuantizePlan, shardPath } from "../compress/quantize-model.js";
import { SourceFiles } from "../compress/source-files.js";
import { HundredweightError } from "../errors.js";
import { padded, planGguf, type TensorSource, writeGguf } from "../formats/gguf-write.js";
import { onlyExtent } from "../formats/index.js";
import { fileIdentity } from "./planned.js";
import { type FilePiece, writeResumable } from "./resumable-file.js";

export interface QuantizeProgress {
  readonly tensor: string;
  readonly bytes: number;
  readonly totalBytes: number;
  /** Work in a unit of its own, that of tensors which an earlier run had written left out. */
  readonly work: number;
  readonly totalWork: number;
}

export interface QuantizeOptions {
  readonly threads: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: QuantizeProgress) => void;
}

export interface QuantizedFile {
  readonly path: string;
  readonly bytes: number;
  /** Bytes that an earlier run had written. */
  readonly resumedBytes: number;
}

/**
 * Writes the files of a plan, each whole or not at all.
 * @throws NATIVE_UNAVAILABLE, MODEL_INVALID for values that are no numbers, FILE_IO, CANCELLED
 */
export async function writeQuantized(
  path: string,
  plan: QuantizePlan,
  options: QuantizeOptions,
): Promise<QuantizedFile[]> {
  const files = new SourceFiles();
  const uses = plan.tensors.flatMap(({ moments }) => moments ?? []);
  const means = encodeMeans(files, options.threads, plan.moments, uses);
  const work = new Work(plan, options);
  try {
    const written: QuantizedFile[] = [];
    for (const [i, file] of plan.files.entries()) {
      const to = plan.files.length === 1 ? path : shardPath(path, i, plan.files.length);
      written.push({ path: to, ...(await writeOne(to, plan, file, means, work, options)) });
    }
    return written;
  } finally {
    await files.close();
  }
}

async function writeOne(
  path: string,
  plan: QuantizePlan,
  file: PlannedFile,
  means: EncodeMeans,
  work: Work,
  { signal }: QuantizeOptions,
): Promise<Omit<QuantizedFile, "path">> {
  const encoded = (planned: PlannedTensor) =>
    async function* () {
      for await (const bytes of encodeTensor(planned, means)) {
        if (signal?.aborted) throw new HundredweightError("CANCELLED", `${path}: quantizing was cancelled`);
        yield bytes;
        work.add(planned, bytes.length);
      }
    };
  const sources = file.tensors.map(
    (planned): TensorSource => ({
      name: planned.tensor.name,
      dtype: planned.to,
      shape: withoutOnes(planned.tensor.shape),
      data: encoded(planned),
    }),
  );
  const content = { metadata: file.metadata, tensors: sources };
  // Nothing goes on in a device.
  if (statSync(path, { throwIfNoEntry: false })?.isCharacterDevice())
    return { bytes: await writeGguf(path, content, { ...(signal && { signal }) }), resumedBytes: 0 };
  const { head, alignment, tensors } = planGguf(path, content);
  const pieces = tensors.map(
    ({ source, bytes }, i): FilePiece => ({
      name: source.name,
      bytes,
      padding: padded(bytes, alignment) - bytes,
      data: encoded(file.tensors[i]!),
    }),
  );
  const resumable = { path, head, pieces, identity: identityOf(plan, file) };
  try {
    // With feedback a tensor takes much longer than the disk takes to be sure of it.
    const lineBytes = plan.moments && 1;
    return await writeResumable(resumable, { signal, lineBytes, onResume: (count) => work.skip(file, count) });
  } catch (error) {
    // A damaged model is not quantized on another day either.
    if (error instanceof HundredweightError && error.code === "MODEL_INVALID") removeUnfinished(path);
    throw error;
  }
}

function removeUnfinished(path: string): void {
  for (const end of [".partial", ".journal"]) rmSync(`${path}${end}`, { force: true });
}

/** Everything that the bytes follow from beside names, types and metadata. */
function identityOf({ moments }: QuantizePlan, { tensors }: PlannedFile): string {
  const files = new Set(tensors.map(({ tensor }) => onlyExtent(tensor).file));
  const columns = tensors.map(({ importance, moments: use }) => [
    importance && crc32(new Uint8Array(importance.buffer, importance.byteOffset, importance.byteLength)),
    use?.block,
  ]);
  return JSON.stringify([[...files].map(fileIdentity), moments && fileIdentity(moments.path), columns]);
}

/** How far it is, by what tensors take: with feedback that is little like their bytes. */
class Work {
  readonly #plan: QuantizePlan;
  readonly #options: QuantizeOptions;
  #bytes = 0;
  #done = 0;
  #total: number;

  constructor(plan: QuantizePlan, options: QuantizeOptions) {
    this.#plan = plan;
    this.#options = options;
    this.#total = plan.tensors.reduce((sum, planned) => sum + workOf(planned), 0);
  }

  add(planned: PlannedTensor, bytes: number): void {
    this.#bytes += bytes;
    this.#done += (workOf(planned) * bytes) / planned.bytes;
    this.#options.onProgress?.({
      tensor: planned.tensor.name,
      bytes: this.#bytes,
      totalBytes: this.#plan.bytes,
      work: this.#done,
      totalWork: this.#total,
    });
  }

  /** An earlier run has written so many tensors of a file. */
  skip({ tensors }: PlannedFile, count: number): void {
    for (const planned of tensors.slice(0, count)) {
      this.#bytes += planned.bytes;
      this.#total -= workOf(planned);
    }
  }
}

/** Searching scales and codes of a value is 1; handing errors on grows with the block, factoring with its square. */
function workOf({ tensor, from, to, moments }: PlannedTensor): number {
  const values = tensor.shape.reduce((product, size) => product * size, 1);
  if (from === to) return values / 100;
  if (moments === undefined) return values;
  const { block, entry } = moments;
  return values * (2 + block / 1500) + (entry.cols * block * block) / 3000;
}

/** As ggml counts dimensions. */
function withoutOnes(shape: readonly number[]): readonly number[] {
  let length = shape.length;
  while (length > 1 && shape[length - 1] === 1) length--;
  return shape.slice(0, length);
}
