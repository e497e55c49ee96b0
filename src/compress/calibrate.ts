/**
 * Importance of columns: a text goes through the model, and the squares of what goes into each product are added up.
 * @source llama.cpp, tools/imatrix
 */
import { writeFile } from "node:fs/promises";
import { HundredweightError } from "../errors.js";
import { dtypeByName, PackedStrings, type TensorSource, writeGguf } from "../formats/index.js";
import { bindDescription, chunkRows, type ModelDescription, withTaps } from "../models/index.js";
import { createOps } from "../ops/index.js";
import { pagePositions } from "../ops/ops.js";
import { ExpertHidden } from "./expert-hidden.js";
import { MomentGatherer } from "./gather-moments.js";
import type { MomentSums } from "./moments.js";

/** Sums of squares of the columns of a matrix, and how many rows they are of; of each matrix of a stack. */
export interface ColumnSums {
  /** [matrices][cols] */
  readonly squares: Float64Array;
  /** [matrices] */
  readonly rows: Float64Array;
}

export interface CalibrateOptions {
  readonly threads?: number;
  /** Tokens of a chunk. Each is evaluated alone, behind nothing. */
  readonly chunkTokens: number;
  /** Chunks of one pass, for which the weights are read once. Default 1. */
  readonly together?: number;
  readonly maxChunks?: number;
  /** Bytes that moments may take in memory; without it none are gathered. */
  readonly momentBytes?: number;
  readonly signal?: AbortSignal;
  readonly onChunk?: (chunks: number) => void;
}

export interface Calibration {
  readonly sums: ReadonlyMap<string, ColumnSums>;
  /** By the first matrix of each input; also of the head, which importance files say nothing of. */
  readonly moments?: ReadonlyMap<string, MomentSums>;
  readonly chunks: number;
  readonly chunkTokens: number;
}

/**
 * @param chunks ids, each of `chunkTokens`
 * @throws NATIVE_UNAVAILABLE, OPTION_INVALID for a text without a whole chunk, CANCELLED, what binding throws
 */
export async function calibrate(
  description: ModelDescription,
  chunks: Iterable<Int32Array>,
  options: CalibrateOptions,
): Promise<Calibration> {
  const { chunkTokens, together = 1, signal } = options;
  const sums = new Map<string, ColumnSums>();
  const shapes = new Map(description.tensors.map(({ name, shape }) => [name, shape]));
  const gatherer =
    options.momentBytes === undefined ? undefined : new MomentGatherer(shapes, options.momentBytes, options.threads);
  const hidden = new ExpertHidden(new Map(description.tensors.map(({ name, info }) => [name, info])));
  const ops = createOps({ kind: "native", ...(options.threads !== undefined && { threads: options.threads }) });
  const model = await bindDescription(description, ops, {
    contextTokens: Math.ceil(chunkTokens / pagePositions) * pagePositions,
    maxRows: chunkTokens * together,
    maxLogitRows: gatherer === undefined ? 1 : headRows,
    sequences: together,
    kvType: "f16",
    rewrite: (program) => {
      gatherer?.planFor(program);
      return withTaps(program, (tensors, rows, experts) => {
        add(sums, shapes, tensors, rows, experts?.ids ?? null);
        gatherer?.add(tensors, rows);
        // Moments of rows that are weighed before would be of other inputs than those of the importance file.
        if (experts === null || experts.weightsInput) return;
        const { name } = experts.body.down.tensor;
        hidden.each(experts, rows, ({ expert, hidden: values }) => {
          addExpert(sums, shapes, name, expert, values);
          gatherer?.addExpert(name, expert, values);
        });
      });
    },
  });
  let done = 0;
  try {
    const group: Int32Array[] = [];
    const evaluate = async (): Promise<void> => {
      if (group.length === 0) return;
      if (signal?.aborted) throw new HundredweightError("CANCELLED", "calibrating was cancelled");
      await pass(model, group, gatherer);
      done += group.length;
      group.length = 0;
      options.onChunk?.(done);
    };
    for (const chunk of chunks) {
      if (done + group.length === options.maxChunks) break;
      group.push(chunk.slice());
      if (group.length === together) await evaluate();
    }
    await evaluate();
  } finally {
    model.close();
    hidden.close();
  }
  if (done === 0)
    throw new HundredweightError(
      "OPTION_INVALID",
      `the text has no whole chunk of ${chunkTokens} tokens; take more text`,
    );
  return { sums, chunks: done, chunkTokens, ...(gatherer && { moments: gatherer.sums }) };
}

type Bound = Awaited<ReturnType<typeof bindDescription>>;

/** Rows of the final hidden state that are made at once. */
const headRows = 64;

async function pass(model: Bound, chunks: readonly Int32Array[], gatherer: MomentGatherer | undefined): Promise<void> {
  const count = chunks[0]!.length * chunks.length;
  await model.forward(
    chunkRows(chunks, 0, count, model.kvGroups),
    Int32Array.of(count - 1),
    () => {},
    // What goes into the head is no call that can be listened to: it is made only where it is asked for.
    gatherer?.head === undefined
      ? undefined
      : {
          wanted: Int32Array.from({ length: count }, (_, i) => i),
          onHidden: (rows) => gatherer.add([gatherer.head!], rows),
        },
  );
}

/** Only layers have importance: neither tables nor the head, as llama.cpp has it. */
const isLayers = (name: string) => name.startsWith("blk.");

function add(
  sums: Map<string, ColumnSums>,
  shapes: ReadonlyMap<string, readonly number[]>,
  tensors: readonly string[],
  rows: Float32Array,
  chosen: Int32Array | null,
): void {
  for (const name of tensors.filter(isLayers)) {
    const [cols, , stack = 1] = shapes.get(name)!;
    const matrices = chosen === null ? 1 : stack;
    const into = sumsOf(sums, name, matrices, cols!);
    const count = rows.length / cols!;
    const each = chosen === null ? 0 : chosen.length / count;
    for (let row = 0; row < count; row++) {
      if (chosen === null) addRow(into, 0, rows, row * cols!, cols!);
      for (let k = 0; k < each; k++) addRow(into, chosen![row * each + k]!, rows, row * cols!, cols!);
    }
  }
}

function sumsOf(sums: Map<string, ColumnSums>, name: string, matrices: number, cols: number): ColumnSums {
  const known = sums.get(name);
  if (known !== undefined) return known;
  const made = { squares: new Float64Array(matrices * cols), rows: new Float64Array(matrices) };
  sums.set(name, made);
  return made;
}

/** Rows that go into one matrix of a stack. */
function addExpert(
  sums: Map<string, ColumnSums>,
  shapes: ReadonlyMap<string, readonly number[]>,
  name: string,
  expert: number,
  rows: Float32Array,
): void {
  const [cols, , stack = 1] = shapes.get(name)!;
  const into = sumsOf(sums, name, stack, cols!);
  for (let at = 0; at < rows.length; at += cols!) addRow(into, expert, rows, at, cols!);
}

function addRow({ squares, rows }: ColumnSums, matrix: number, x: Float32Array, from: number, cols: number): void {
  const at = matrix * cols;
  for (let i = 0; i < cols; i++) squares[at + i]! += x[from + i]! ** 2;
  rows[matrix]!++;
}

/** The key of llama.cpp's own file for each thing that is said. */
const keys = { type: "general.type", datasets: "imatrix.datasets", chunks: "imatrix.chunk_count" } as const;

/**
 * Writes an importance matrix as llama-imatrix does: GGUF, or the older form where `path` ends in `.dat`.
 * @throws FILE_IO
 */
export async function writeImportance(
  path: string,
  { sums, chunks, chunkTokens }: Calibration,
  datasets: readonly string[],
): Promise<void> {
  const names = [...sums.keys()].sort((a, b) => (a < b ? -1 : 1));
  if (/\.dat$/i.test(path)) {
    await writeFile(path, oldForm(names, sums, chunks, datasets));
    return;
  }
  const f32 = dtypeByName("F32")!;
  const floats = (values: Float64Array) => new Uint8Array(Float32Array.from(values).buffer);
  const tensors = names.flatMap((name): TensorSource[] => {
    const { squares, rows } = sums.get(name)!;
    const stack = rows.length === 1 ? [] : [rows.length];
    return [
      { name: `${name}.in_sum2`, dtype: f32, shape: [squares.length / rows.length, ...stack], data: floats(squares) },
      { name: `${name}.counts`, dtype: f32, shape: [1, ...stack], data: floats(rows) },
    ];
  });
  await writeGguf(path, {
    metadata: [
      [keys.type, { type: "string", value: "imatrix" }],
      [keys.datasets, { type: "array", element: "string", value: PackedStrings.from(datasets) }],
      [keys.chunks, { type: "u32", value: chunks }],
      ["imatrix.chunk_size", { type: "u32", value: chunkTokens }],
    ],
    tensors,
  });
}

/** Means times the calls, as that form has it; a matrix that was never used weighs all columns alike. */
function oldForm(
  names: readonly string[],
  sums: ReadonlyMap<string, ColumnSums>,
  chunks: number,
  datasets: readonly string[],
): Uint8Array {
  const i32 = (value: number) => new Uint8Array(Int32Array.of(value).buffer);
  const text = (value: string) => [i32(Buffer.byteLength(value)), Buffer.from(value)];
  const parts: Uint8Array[] = [i32(names.length)];
  for (const name of names) {
    const { squares, rows } = sums.get(name)!;
    const cols = squares.length / rows.length;
    const values = Float32Array.from(squares, (sum, i) => {
      const count = rows[Math.floor(i / cols)]!;
      return (count > 0 ? sum / count : 1) * chunks;
    });
    parts.push(...text(name), i32(chunks), i32(values.length), new Uint8Array(values.buffer));
  }
  parts.push(i32(chunks), ...text(datasets[0] ?? ""));
  return Buffer.concat(parts);
}
