/**
 * Tensors in the types that a search tries, each encoded once into one file, and models made of them: a trial is
 * opened like any other model, and nothing is written for it but what no trial before it had.
 */
import { closeSync, openSync, rmSync, writeSync } from "node:fs";
import { type EncodeMeans, encodeMeans, encodeTensor } from "../../compress/encode-tensor.js";
import { momentsFor, type PlannedTensor, type QuantizeWishes } from "../../compress/quantize-model.js";
import { SourceFiles } from "../../compress/source-files.js";
import { HundredweightError } from "../../errors.js";
import { type Checkpoint, type Dtype, onlyExtent, type TensorInfo } from "../../formats/index.js";

/** Where a tensor may lie, so that it can be read directly. */
const alignment = 4096;

type FeedbackWishes = Pick<QuantizeWishes, "moments" | "feedbackBytes">;

export interface TypedTensor {
  readonly planned: PlannedTensor;
  readonly dtype: Dtype;
}

export class EncodedPool {
  readonly path: string;
  private readonly checkpoint: Checkpoint;
  private readonly wishes: FeedbackWishes;
  private readonly means: EncodeMeans;
  private readonly file: number;
  private readonly known = new Map<string, TensorInfo>();
  private readonly sources = new SourceFiles();
  private end = 0;

  /** @param wishes moments, as the result will be written with them @throws FILE_IO */
  constructor(path: string, checkpoint: Checkpoint, threads: number, wishes: FeedbackWishes = {}) {
    this.path = path;
    this.checkpoint = checkpoint;
    this.wishes = wishes;
    this.means = encodeMeans(this.sources, threads, wishes.moments);
    this.file = this.io(() => openSync(path, "w"));
  }

  /** Bytes that were written. */
  get bytes(): number {
    return this.end;
  }

  /**
   * The model with these tensors instead of its own.
   * @throws MODEL_INVALID, FILE_IO, CANCELLED
   */
  async modelOf(tensors: readonly TypedTensor[], signal?: AbortSignal): Promise<Checkpoint> {
    const all = new Map(this.checkpoint.tensors);
    for (const typed of tensors) all.set(typed.planned.tensor.name, await this.encoded(typed, signal));
    let tensorBytes = 0;
    for (const tensor of all.values()) tensorBytes += onlyExtent(tensor).bytes;
    const files = [...this.checkpoint.files, { path: this.path, bytes: this.end }];
    return { ...this.checkpoint, files, tensors: all, tensorBytes };
  }

  /** Nothing is kept. */
  async close(): Promise<void> {
    await this.sources.close();
    closeSync(this.file);
    rmSync(this.path, { force: true });
  }

  private async encoded({ planned, dtype }: TypedTensor, signal?: AbortSignal): Promise<TensorInfo> {
    const { tensor, from, importance } = planned;
    if (from === dtype) return tensor;
    const key = `${dtype.name} ${tensor.name}`;
    const known = this.known.get(key);
    if (known !== undefined) return known;
    const offset = this.end;
    let bytes = 0;
    const moments = momentsFor(this.wishes, tensor, dtype);
    for await (const piece of encodeTensor({ tensor, from, to: dtype, importance, moments }, this.means)) {
      if (signal?.aborted) throw new HundredweightError("CANCELLED", "the search was cancelled");
      this.write(piece, offset + bytes);
      bytes += piece.length;
    }
    this.end = Math.ceil((offset + bytes) / alignment) * alignment;
    const info = { ...tensor, layout: dtype, planes: { blocks: [{ file: this.path, offset, bytes }] } };
    this.known.set(key, info);
    return info;
  }

  private write(bytes: Uint8Array, at: number): void {
    this.io(() => {
      for (let done = 0; done < bytes.length; )
        done += writeSync(this.file, bytes, done, bytes.length - done, at + done);
    });
  }

  private io<T>(action: () => T): T {
    try {
      return action();
    } catch (cause) {
      const { code } = cause as NodeJS.ErrnoException;
      throw new HundredweightError("FILE_IO", `cannot write ${this.path}: ${code}`, { path: this.path }, { cause });
    }
  }
}
