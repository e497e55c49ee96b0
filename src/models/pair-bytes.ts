/** The bytes of a pair's matrices in the order in which a model needs their rows. */
import type { PairMatrix } from "../formats/adapter.js";
import { dtypeOf } from "../formats/dtypes.js";
import { append, type Extent, extentsWithin } from "../formats/layouts.js";
import type { MatrixSource } from "../ops/ops.js";
import { WeightFiles } from "../ops/reference-weights.js";

/** Row i of the result is row `from(i)`. Rows that stay together are read together. */
export function takeRows(matrix: PairMatrix, count: number, from: (row: number) => number): PairMatrix {
  const each = rowBytes(matrix);
  const extents: Extent[] = [];
  for (let row = 0; row < count; row++)
    for (const extent of extentsWithin(matrix.extents, from(row) * each, each)) append(extents, extent);
  return { ...matrix, rows: count, extents };
}

/** Rows [first, first + count) of every expert. */
export function takeExpertRows(matrix: PairMatrix, first: number, count: number): PairMatrix {
  const { rows, experts, byTurns } = matrix;
  const each = rowBytes(matrix);
  const extents: Extent[] = [];
  const take = (row: number, stride: number): void => {
    for (const extent of extentsWithin(matrix.extents, row * stride, count * stride)) append(extents, extent);
  };
  if (byTurns) take(first, each * experts);
  else for (let expert = 0; expert < experts; expert++) take(expert * rows + first, each);
  return { ...matrix, rows: count, extents };
}

function rowBytes({ layout, cols }: PairMatrix): number {
  const { blockValues, blockBytes } = dtypeOf(layout)!;
  return (cols / blockValues) * blockBytes;
}

/** @param name under which the model knows it: the same name, the same matrix */
export function pairSource(name: string, matrix: PairMatrix): MatrixSource {
  const { layout, rows, cols, experts } = matrix;
  const held = matrix.turned ? turnedBytes(matrix) : matrix.byTurns ? sortedBytes(matrix) : plainBytes(matrix);
  return { name, layout, rows, cols, experts, planes: {}, held };
}

function plainBytes({ extents }: PairMatrix): NonNullable<MatrixSource["held"]> {
  const starts: number[] = [];
  let all = 0;
  for (const { bytes } of extents) {
    starts.push(all);
    all += bytes;
  }
  return (offset, into) =>
    withFiles((files) => {
      let i = starts.findLastIndex((start) => start <= offset);
      for (let done = 0; done < into.length; i++) {
        const { file, offset: at, bytes } = extents[i]!;
        const skip = offset + done - starts[i]!;
        const part = into.subarray(done, done + Math.min(into.length - done, bytes - skip));
        files.read(file, at + skip, part);
        done += part.length;
      }
    });
}

/**
 * Experts one after the other, of what has them by turns. All of it is in memory from the first piece to the last:
 * each piece takes values of every row.
 */
function sortedBytes(matrix: PairMatrix): NonNullable<MatrixSource["held"]> {
  const { layout, rows, cols, experts } = matrix;
  const { blockBytes: size } = dtypeOf(layout)!;
  const total = rows * cols * experts * size;
  const read = plainBytes(matrix);
  let stored: Uint8Array | undefined;
  return (offset, into) => {
    if (stored === undefined) {
      stored = new Uint8Array(total);
      read(0, stored);
    }
    for (let at = offset; at < offset + into.length; at++) {
      const cell = Math.floor(at / size);
      const [expert, row, col] = [Math.floor(cell / cols / rows), Math.floor(cell / cols) % rows, cell % cols];
      into[at - offset] = stored[((row * cols + col) * experts + expert) * size + (at % size)]!;
    }
    if (offset + into.length === total) stored = undefined;
  };
}

/** Row by row of what is needed, it is column by column of what is there: some columns of all rows at a time. */
function turnedBytes({ layout, rows, cols, extents }: PairMatrix): NonNullable<MatrixSource["held"]> {
  const { blockBytes: size } = dtypeOf(layout)!;
  const { file, offset: start } = extents[0]!;
  return (offset, into) =>
    withFiles((files) => {
      const [first, last] = [Math.floor(offset / size / cols), Math.ceil((offset + into.length) / size / cols)];
      const stored = new Uint8Array((last - first) * size);
      for (let c = 0; c < cols; c++) {
        files.read(file, start + (c * rows + first) * size, stored);
        for (let row = first; row < last; row++) {
          const at = (row * cols + c) * size - offset;
          if (at < 0 || at + size > into.length) continue;
          into.set(stored.subarray((row - first) * size, (row - first + 1) * size), at);
        }
      }
    });
}

function withFiles(use: (files: WeightFiles) => void): void {
  const files = new WeightFiles();
  try {
    use(files);
  } finally {
    files.close();
  }
}
