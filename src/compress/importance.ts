/**
 * Importance matrices: for each column of a matrix the mean square of what it was multiplied with. Both forms that
 * llama.cpp writes are read: GGUF with sums and counts, and the older one that ends in .dat or .imatrix.
 * @source llama.cpp, common/imatrix-loader.cpp, tools/imatrix
 */
import { closeSync, readSync } from "node:fs";
import { HundredweightError } from "../errors.js";
import { onlyExtent, openGguf } from "../formats/index.js";
import { readSmallFile } from "../formats/small-file.js";
import { openRegularSync } from "../regular-file.js";

export interface Importance {
  readonly path: string;
  /** Name of a matrix -> a value a column; of a stack of matrices one after the other. */
  readonly columns: ReadonlyMap<string, Float32Array>;
  readonly datasets: readonly string[];
  readonly chunks: number;
}

const largestFile = 2 ** 31;

/** @throws FILE_*, FORMAT_INVALID for what is no importance matrix, or one whose values are not finite or negative */
export function readImportance(path: string): Importance {
  const bytes = readSmallFile(path, largestFile);
  const isGguf = bytes.length >= 4 && Buffer.from(bytes.subarray(0, 4)).toString("latin1") === "GGUF";
  const importance = isGguf ? readSums(path) : readOld(path, bytes);
  for (const [name, values] of importance.columns)
    for (const value of values)
      if (!Number.isFinite(value) || value < 0)
        throw invalid(path, `'${name}' has a value of ${value}; importance is never negative and always a number`);
  return importance;
}

const invalid = (path: string, what: string) =>
  new HundredweightError("FORMAT_INVALID", `${path}: no importance matrix: ${what}`);

function readSums(path: string): Importance {
  const { metadata, tensors } = openGguf(path);
  const file = openRegularSync(path);
  try {
    const floats = (name: string): Float32Array | undefined => {
      const info = tensors.get(name);
      if (info === undefined) return undefined;
      if (info.layout.name !== "F32") throw invalid(path, `'${name}' is of type ${info.layout.name}, not F32`);
      const { offset, bytes } = onlyExtent(info);
      const values = new Float32Array(bytes / 4);
      const read = readSync(file, new Uint8Array(values.buffer), 0, bytes, offset);
      if (read !== bytes) throw invalid(path, `'${name}' is cut short`);
      return values;
    };
    const columns = new Map<string, Float32Array>();
    for (const name of [...tensors.keys()].sort()) {
      if (!name.endsWith(".in_sum2")) continue;
      const matrix = name.slice(0, -".in_sum2".length);
      const sums = floats(name)!;
      const counts = floats(`${matrix}.counts`);
      if (counts === undefined || counts.length === 0 || sums.length % counts.length !== 0)
        throw invalid(path, `'${name}' has no counts of its matrices`);
      const cols = sums.length / counts.length;
      // A matrix that was never used weighs all columns alike.
      columns.set(
        matrix,
        sums.map((sum, i) => {
          const count = Math.round(counts[Math.floor(i / cols)]!);
          return count > 0 ? sum / count : 1;
        }),
      );
    }
    if (columns.size === 0) throw invalid(path, "it has no tensors that end in .in_sum2");
    const datasets = metadata.strings("imatrix.datasets");
    const chunks = metadata.number("imatrix.chunk_count");
    if (datasets === undefined || chunks === undefined || metadata.number("imatrix.chunk_size") === undefined)
      throw invalid(path, "its metadata does not say what it was made from");
    return { path, columns, datasets, chunks };
  } finally {
    closeSync(file);
  }
}

function readOld(path: string, bytes: Uint8Array): Importance {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  const i32 = (): number => {
    if (at + 4 > bytes.length) throw invalid(path, "it is cut short");
    at += 4;
    return view.getInt32(at - 4, true);
  };
  const text = (length: number): string => {
    if (length < 0 || length > bytes.length - at) throw invalid(path, "it is cut short");
    at += length;
    return Buffer.from(bytes.subarray(at - length, at)).toString("utf8");
  };
  const count = i32();
  if (count < 1 || count > 1 << 20) throw invalid(path, `it would have ${count} entries`);
  const columns = new Map<string, Float32Array>();
  for (let entry = 0; entry < count; entry++) {
    const name = text(i32());
    const calls = i32();
    const length = i32();
    if (length < 1 || length > (bytes.length - at) / 4) throw invalid(path, `'${name}' would have ${length} values`);
    const values = new Float32Array(length);
    for (let i = 0; i < length; i++) {
      const value = view.getFloat32(at + 4 * i, true);
      values[i] = calls > 0 ? value / calls : value;
    }
    at += 4 * length;
    columns.set(name, values);
  }
  const chunks = at < bytes.length ? i32() : 0;
  const dataset = at < bytes.length ? text(i32()) : "";
  return { path, columns, datasets: dataset === "" ? [] : [dataset], chunks };
}
