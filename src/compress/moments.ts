/**
 * Moments of what goes into products: X'X over the tokens of a calibration, which says how far the error of one
 * column can be taken over by others. One entry for each input, whatever number of matrices it goes into.
 */
import { closeSync, readSync } from "node:fs";
import { HundredweightError } from "../errors.js";
import {
  dtypeByName,
  onlyExtent,
  openGguf,
  PackedStrings,
  type TensorInfo,
  type TensorSource,
  writeGguf,
} from "../formats/index.js";
import { openRegularSync } from "../regular-file.js";

/** Sums are tiles of so many columns squared, those on and above the diagonal, row of tiles by row. */
export const momentTile = 32;

/** Floats for one block of columns. */
export function momentValues(block: number): number {
  const tiles = block / momentTile;
  return ((tiles * (tiles + 1)) / 2) * momentTile ** 2;
}

/** One block as a whole square, with off-diagonals times `share` [block][block]. */
export function fillSquare(sums: Float32Array, block: number, share: number, square: Float32Array): void {
  const tiles = block / momentTile;
  let from = 0;
  for (let p = 0; p < tiles; p++)
    for (let q = p; q < tiles; q++)
      for (let a = 0; a < momentTile; a++)
        for (let b = 0; b < momentTile; b++, from++) {
          const [i, j] = [p * momentTile + a, q * momentTile + b];
          square[i * block + j] = square[j * block + i] = sums[from]! * (i === j ? 1 : share);
        }
}

/** The sums of one input; of each matrix of a stack where its matrices have inputs of their own. */
export interface MomentSums {
  readonly cols: number;
  /** Columns of a block; between blocks nothing is summed. */
  readonly block: number;
  /** [matrices] sums, [cols / block][momentValues(block)] each. */
  readonly sums: readonly Float32Array[];
  /** [matrices] tokens that were added up. */
  readonly rows: Float64Array;
  /** The matrices that this goes into. */
  readonly tensors: Set<string>;
}

/**
 * The widest block of whole super-blocks that divides the columns and takes at most `most` columns; undefined for
 * columns that are no multiple of 32.
 */
export function momentBlock(cols: number, most: number): number | undefined {
  if (cols % momentTile !== 0) return undefined;
  const step = cols % 256 === 0 ? 256 : momentTile;
  for (let block = Math.min(cols, most) - (Math.min(cols, most) % step); block >= step; block -= step)
    if (cols % block === 0) return block;
  return step;
}

/** The name beside an importance file. */
export const momentsPath = (importance: string): string => `${importance.replace(/\.(gguf|dat)$/i, "")}.moments.gguf`;

const keys = {
  type: "general.type",
  chunks: "moments.chunk_count",
  chunkTokens: "moments.chunk_size",
  tensors: "moments.tensors",
  inputs: "moments.inputs",
} as const;

/** @returns bytes written */
export async function writeMoments(
  path: string,
  moments: ReadonlyMap<string, MomentSums>,
  { chunks, chunkTokens }: { readonly chunks: number; readonly chunkTokens: number },
): Promise<number> {
  const f32 = dtypeByName("F32")!;
  const bytes = (values: Float32Array) => new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  const named = [...moments].flatMap(([input, { tensors }]) => [...tensors].map((tensor) => [tensor, input] as const));
  const tensors = [...moments].flatMap(([input, { cols, block, sums, rows }]): TensorSource[] => [
    {
      name: `${input}.moments`,
      dtype: f32,
      shape: [momentTile ** 2, momentValues(block) / momentTile ** 2, cols / block, sums.length],
      data: async function* () {
        for (const values of sums) yield bytes(values);
      },
    },
    { name: `${input}.rows`, dtype: f32, shape: [rows.length], data: bytes(Float32Array.from(rows)) },
  ]);
  return writeGguf(path, {
    metadata: [
      [keys.type, { type: "string", value: "moments" }],
      [keys.chunks, { type: "u32", value: chunks }],
      [keys.chunkTokens, { type: "u32", value: chunkTokens }],
      [keys.tensors, { type: "array", element: "string", value: PackedStrings.from(named.map(([name]) => name)) }],
      [keys.inputs, { type: "array", element: "string", value: PackedStrings.from(named.map(([, input]) => input)) }],
    ],
    tensors,
  });
}

/** Where the moments of a matrix lie. */
export interface MomentEntry {
  readonly input: string;
  readonly cols: number;
  readonly block: number;
  readonly rows: readonly number[];
}

export interface Moments {
  readonly path: string;
  readonly chunks: number;
  readonly chunkTokens: number;
  /** By the name of a matrix. */
  readonly entries: ReadonlyMap<string, MomentEntry>;
  /**
   * The sums of a matrix, of blocks of `block` columns, which divide those of the entry.
   * @param into [cols / block][momentValues(block)], or more
   * @throws FORMAT_INVALID for a file that became shorter
   */
  readInto(entry: MomentEntry, matrix: number, block: number, into: Float32Array): void;
  /** The sums of a matrix as they lie in the file. @throws FORMAT_INVALID for a file that became shorter */
  read(entry: MomentEntry, matrix: number): Float32Array;
}

const invalid = (path: string, what: string) =>
  new HundredweightError("FORMAT_INVALID", `${path}: no moments: ${what}`);

/** An error for a matrix of other columns than those that moments were summed over. */
export function misfitMoments(
  { path }: Pick<Moments, "path">,
  { cols }: MomentEntry,
  name: string,
  own: number | undefined,
): HundredweightError {
  return new HundredweightError(
    "OPTION_INVALID",
    `${path}: has moments of ${cols} columns for '${name}' with ${own}: it was made from another model`,
  );
}

/** Reads what there is; sums are read when they are asked for. @throws FILE_*, FORMAT_INVALID */
export function openMoments(path: string): Moments {
  const { metadata, tensors } = openGguf(path);
  if (metadata.string(keys.type) !== "moments") throw invalid(path, "its general.type is another one");
  const names = metadata.strings(keys.tensors) ?? [];
  const inputs = metadata.strings(keys.inputs) ?? [];
  const chunks = metadata.number(keys.chunks);
  const chunkTokens = metadata.number(keys.chunkTokens);
  if (chunks === undefined || chunkTokens === undefined || names.length === 0 || names.length !== inputs.length)
    throw invalid(path, "its metadata does not say of which matrices");
  const known = new Map<string, MomentEntry>();
  for (const input of new Set(inputs)) known.set(input, entryOf(path, input, tensors));
  const readInto: Moments["readInto"] = (entry, matrix, block, into) =>
    readBlocks(path, tensors.get(`${entry.input}.moments`)!, entry, matrix, block, into);
  return {
    path,
    chunks,
    chunkTokens,
    entries: new Map(names.map((name, i) => [name, known.get(inputs[i]!)!])),
    readInto,
    read: (entry, matrix) => {
      const values = new Float32Array((entry.cols / entry.block) * momentValues(entry.block));
      readInto(entry, matrix, entry.block, values);
      return values;
    },
  };
}

function entryOf(path: string, input: string, tensors: ReadonlyMap<string, TensorInfo>): MomentEntry {
  const sums = tensors.get(`${input}.moments`);
  const counts = tensors.get(`${input}.rows`);
  if (sums?.layout.name !== "F32" || counts?.layout.name !== "F32") throw invalid(path, `'${input}' has none in F32`);
  const [values = 0, triangle = 0, blocks = 1, matrices = 1] = sums.shape;
  const tiles = Math.round((Math.sqrt(8 * triangle + 1) - 1) / 2);
  const block = tiles * momentTile;
  if (values !== momentTile ** 2 || triangle !== (tiles * (tiles + 1)) / 2 || (counts.shape[0] ?? 1) !== matrices)
    throw invalid(path, `'${input}' has shapes ${sums.shape.join(" x ")} and ${counts.shape.join(" x ")}`);
  const rows = new Float32Array(matrices);
  const file = openRegularSync(path);
  try {
    readPart(path, file, counts, 0, rows);
  } finally {
    closeSync(file);
  }
  for (const count of rows)
    if (!(count >= 0 && count < 2 ** 53)) throw invalid(path, `'${input}' was summed over ${count} rows`);
  return { input, cols: block * blocks, block, rows: [...rows] };
}

/** The tiles of each row that lie within a narrower block, which are together. */
function readBlocks(
  path: string,
  tensor: TensorInfo,
  { cols, block: wide }: MomentEntry,
  matrix: number,
  block: number,
  into: Float32Array,
): void {
  const file = openRegularSync(path);
  try {
    const [all, own, tile] = [wide / momentTile, block / momentTile, momentTile ** 2];
    let to = 0;
    const read = (first: number, count: number): void => {
      readPart(path, file, tensor, first, into.subarray(to, to + count));
      to += count;
    };
    for (let at = 0; at < cols / wide; at++) {
      const first = (matrix * (cols / wide) + at) * momentValues(wide);
      if (own === all) read(first, momentValues(wide));
      else
        for (let row = 0; row < all; row++)
          read(first + (row * all - (row * (row - 1)) / 2) * tile, (own - (row % own)) * tile);
    }
  } finally {
    closeSync(file);
  }
}

function readPart(path: string, file: number, tensor: TensorInfo, first: number, values: Float32Array): void {
  const { offset, bytes } = onlyExtent(tensor);
  const into = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  const from = 4 * first;
  for (let done = 0; done < into.length; ) {
    const most = Math.min(into.length - done, 1 << 30);
    const read = from + done + most > bytes ? 0 : readSync(file, into, done, most, offset + from + done);
    if (read === 0) throw invalid(path, `'${tensor.name}' is cut short`);
    done += read;
  }
}
