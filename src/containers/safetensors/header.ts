/**
 * One safetensors file: where its tensors lie. The header is a stranger's: lengths, offsets and names are checked
 * before anything is sized by them.
 * @source huggingface/safetensors, safetensors/src/tensor.rs
 */
import { HundredweightError } from "../../errors.js";
import { Cursor } from "../../formats/cursor.js";
import { JsonReader } from "../../formats/json-reader.js";
import { sniff } from "../../formats/sniff.js";
import type { WeightFile } from "../stored/shards.js";
import type { StoredTensor } from "../stored/stored.js";

/** Bits of an element of each type. */
const elementBits: Readonly<Record<string, number>> = {
  F4: 4,
  F6_E2M3: 6,
  F6_E3M2: 6,
  BOOL: 8,
  U8: 8,
  I8: 8,
  F8_E5M2: 8,
  F8_E4M3: 8,
  F8_E8M0: 8,
  I16: 16,
  U16: 16,
  F16: 16,
  BF16: 16,
  I32: 32,
  U32: 32,
  F32: 32,
  F64: 64,
  I64: 64,
  U64: 64,
  C64: 64,
};

const limits = {
  /** The reference's own limit. */
  headerBytes: 100_000_000,
  /** Kimi K2 has 140,000 in all. */
  tensors: 2 ** 19,
  nameBytes: 1024,
  dims: 8,
} as const;

/** Its tensors are in the order of their bytes. */
export interface SafetensorsFile extends WeightFile {
  /** `__metadata__`. */
  readonly metadata: ReadonlyMap<string, string>;
}

/**
 * Reads the header of one file.
 * @throws FILE_NOT_FOUND, FILE_IO, FILE_NOT_REGULAR, FORMAT_UNKNOWN, FORMAT_UNSUPPORTED (an unknown type of element),
 *   FORMAT_INVALID, MODEL_CHANGED
 */
export function readSafetensors(path: string): SafetensorsFile {
  const cursor = new Cursor(path);
  try {
    const headerBytes = headerLength(cursor);
    const reader = new JsonReader(cursor.bytes(headerBytes, "the header"), path);
    const metadata = new Map<string, string>();
    const found = new Map<string, StoredTensor>();
    const dataStart = 8 + headerBytes;
    reader.object((name) => {
      if (name === "__metadata__") return readMetadata(reader, metadata);
      if (Buffer.byteLength(name) > limits.nameBytes) throw reader.invalid("a name of more than 1024 bytes");
      if (found.has(name)) throw reader.invalid(`tensor '${name}' twice`);
      if (found.size === limits.tensors) throw reader.invalid(`more than ${limits.tensors} tensors`);
      found.set(name, readEntry(cursor, reader, name, dataStart));
    });
    reader.end();
    const tensors = [...found.values()].sort((a, b) => a.offset - b.offset || a.bytes - b.bytes);
    checkOrder(cursor, tensors, dataStart);
    return { path, fileBytes: cursor.fileBytes, metadata, tensors };
  } finally {
    cursor.close();
  }
}

function headerLength(cursor: Cursor): number {
  const head = cursor.bytes(Math.min(64, cursor.fileBytes), "the file");
  cursor.seek(0);
  const isHeader = head.length > 8 && head[8] === 0x7b;
  if (!isHeader) {
    const guess = sniff(head);
    throw new HundredweightError(guess.code, `${cursor.path}: not a safetensors file; it looks like ${guess.text}`);
  }
  const length = cursor.u64("the header's length");
  if (length > BigInt(limits.headerBytes))
    throw cursor.invalid(`the header has ${length} bytes, more than the limit of ${limits.headerBytes}`);
  return Number(length);
}

function readMetadata(reader: JsonReader, into: Map<string, string>): void {
  if (into.size > 0) throw reader.invalid("'__metadata__' twice");
  reader.object((key) => {
    // Only strings are allowed; what else stands there matters to nobody.
    if (reader.kind() === "string") into.set(key, reader.string());
    else reader.skip();
  });
}

function readEntry(cursor: Cursor, reader: JsonReader, name: string, dataStart: number): StoredTensor {
  let dtype: string | undefined;
  const shape: number[] = [];
  const offsets: number[] = [];
  reader.object((key) => {
    if (key === "dtype") dtype = reader.string();
    else if (key === "shape") readWholes(reader, shape, limits.dims);
    else if (key === "data_offsets") readWholes(reader, offsets, 2);
    else reader.skip();
  });
  const [begin, end] = offsets;
  if (dtype === undefined || begin === undefined || end === undefined || offsets.length > 2)
    throw cursor.invalid(`tensor '${name}' has no type, or not two offsets`);
  const bits = elementBits[dtype];
  if (bits === undefined) throw cursor.unsupported(`tensor '${name}' has the type '${dtype}', which is not known`);
  const bytes = (shape.reduce((product, size) => product * size, 1) * bits) / 8;
  if (!Number.isSafeInteger(bytes)) throw cursor.invalid(`tensor '${name}' [${shape.join(", ")}] is not whole bytes`);
  if (end - begin !== bytes)
    throw cursor.invalid(
      `tensor '${name}' [${shape.join(", ")}] of ${dtype} takes ${bytes} bytes, its offsets are ${begin} and ${end}`,
    );
  return { name, dtype, shape, file: cursor.path, offset: dataStart + begin, bytes };
}

function readWholes(reader: JsonReader, into: number[], most: number): void {
  if (into.length > 0) throw reader.invalid("a key twice");
  reader.array(() => {
    const value = reader.number();
    if (!Number.isSafeInteger(value) || value < 0) throw reader.invalid(`${value}, expected a whole number`);
    if (into.push(value) > most) throw reader.invalid(`more than ${most} numbers`);
  });
}

/** Tensors lie one behind the other, without overlaps and holes, up to the end of the file. */
function checkOrder(cursor: Cursor, tensors: readonly StoredTensor[], dataStart: number): void {
  let end = dataStart;
  for (const { name, offset, bytes } of tensors) {
    if (offset < end) throw cursor.invalid(`the bytes of tensor '${name}' are another tensor's too`);
    if (offset > end) throw cursor.invalid(`${offset - end} bytes before tensor '${name}' belong to no tensor`);
    end = offset + bytes;
  }
  if (end > cursor.fileBytes)
    throw cursor.invalid(
      `the tensors need ${end} bytes but the file has ${cursor.fileBytes}; it is truncated, download it again`,
      { needed: end, bytes: cursor.fileBytes },
    );
  if (end < cursor.fileBytes) throw cursor.invalid(`${cursor.fileBytes - end} bytes behind the last tensor`);
}
