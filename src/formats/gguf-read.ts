/** GGUF versions 1 to 3: header, metadata and tensor directory. The layout is in docs/formats.md. */
import { HundredweightError } from "../errors.js";
import { Cursor, limits } from "./cursor.js";
import { blocksBytes, dtypeById } from "./dtypes.js";
import {
  type ElementType,
  elementBytes,
  PackedStrings,
  type TypedValue,
  type ValueType,
  valueTypes,
} from "./metadata.js";
import { sniff } from "./sniff.js";
import type { MetadataArray, TensorInfo } from "./types.js";

/** One file as it lies; of a split model only one shard. */
export interface GgufFile {
  readonly path: string;
  readonly fileBytes: number;
  readonly version: number;
  readonly alignment: number;
  /** Absolute offset of the tensor data. */
  readonly dataStart: number;
  readonly metadata: ReadonlyMap<string, TypedValue>;
  /** In file order. */
  readonly tensors: readonly TensorInfo[];
}

export const defaultAlignment = 32;

/**
 * Reads header and directory of one file.
 * @throws FILE_NOT_FOUND, FILE_IO, FORMAT_UNKNOWN, FORMAT_UNSUPPORTED, FORMAT_INVALID, MODEL_CHANGED
 */
export function readGgufFile(path: string, options: { readonly windowBytes?: number } = {}): GgufFile {
  const cursor = new Cursor(path, options.windowBytes);
  try {
    const version = readVersion(cursor);
    // Version 1 wrote every count, length and dimension with 4 bytes.
    const wide = version > 1;
    const tensorCount = cursor.length(wide, limits.tensors, "the tensor count");
    const keyCount = cursor.length(wide, limits.metadataKeys, "the metadata count");
    const metadata = readMetadata(cursor, keyCount, wide);
    const alignment = readAlignment(cursor, metadata);
    const directory = readDirectory(cursor, tensorCount, wide);
    const dataStart = Math.ceil(cursor.position / alignment) * alignment;
    const tensors = directory.map((entry) => place(cursor, entry, dataStart, alignment));
    return { path, fileBytes: cursor.fileBytes, version, alignment, dataStart, metadata, tensors };
  } finally {
    cursor.close();
  }
}

function readVersion(cursor: Cursor): number {
  const head = cursor.bytes(Math.min(64, cursor.fileBytes), "the file");
  if (Buffer.from(head.subarray(0, 4)).toString("latin1") !== "GGUF") {
    const guess = sniff(head);
    throw new HundredweightError(guess.code, `${cursor.path}: not a GGUF file; it looks like ${guess.text}`);
  }
  cursor.seek(4);
  const version = cursor.u32("the version");
  if (version !== 0 && (version & 0xffff) === 0) {
    throw cursor.unsupported("a big-endian GGUF file; convert it to little-endian (gguf-convert-endian)");
  }
  if (version < 1 || version > 3) throw cursor.unsupported(`GGUF version ${version}; versions 1 to 3 are known`);
  return version;
}

function readMetadata(cursor: Cursor, count: number, wide: boolean): Map<string, TypedValue> {
  cursor.expect(count, wide ? 14 : 10, "the metadata");
  const metadata = new Map<string, TypedValue>();
  const budget = { left: limits.metadataBytes };
  for (let i = 0; i < count; i++) {
    const length = cursor.length(wide, limits.keyBytes, `the length of metadata key ${i}`);
    if (length === 0) throw cursor.invalid(`metadata key ${i} is empty`);
    const key = cursor.text(length, `metadata key ${i}`);
    if (metadata.has(key)) throw cursor.invalid(`metadata '${key}' appears twice`, { key });
    charge(cursor, budget, 2 * length, key);
    metadata.set(key, readValue(cursor, key, wide, budget));
  }
  return metadata;
}

interface Budget {
  left: number;
}

function charge(cursor: Cursor, budget: Budget, bytes: number, key: string): void {
  budget.left -= bytes;
  if (budget.left < 0) {
    throw cursor.invalid(`metadata up to '${key}' is larger than the limit of ${limits.metadataBytes} bytes`, { key });
  }
}

function readType(cursor: Cursor, what: string): ValueType {
  const id = cursor.u32(what);
  const type = valueTypes[id];
  if (type === undefined) throw cursor.invalid(`${what} is ${id}, not a known value type (0 to 12)`);
  return type;
}

function readValue(cursor: Cursor, key: string, wide: boolean, budget: Budget): TypedValue {
  const what = `metadata '${key}'`;
  const type = readType(cursor, `the type of ${what}`);
  switch (type) {
    case "u64":
      return { type, value: narrow(cursor.u64(what)) };
    case "i64":
      return { type, value: narrow(cursor.i64(what)) };
    case "bool":
      return { type, value: cursor.u8(what) !== 0 };
    case "string": {
      const length = cursor.length(wide, limits.stringBytes, `the length of ${what}`);
      charge(cursor, budget, 2 * length, key);
      return { type, value: cursor.text(length, what) };
    }
    case "array":
      return readArray(cursor, key, wide, budget);
    default:
      return { type, value: cursor[type](what) };
  }
}

function narrow(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

function readArray(cursor: Cursor, key: string, wide: boolean, budget: Budget): TypedValue {
  const what = `metadata '${key}'`;
  const element = readType(cursor, `the element type of ${what}`);
  if (element === "array") throw cursor.unsupported(`${what} is an array of arrays`, { key });
  const count = cursor.length(wide, limits.arrayElements, `the length of ${what}`);
  if (element === "string") {
    const { bytes, offsets } = cursor.packedStrings(count, wide, budget.left, what);
    charge(cursor, budget, bytes.buffer.byteLength + offsets.byteLength, key);
    return { type: "array", element, value: new PackedStrings(bytes, offsets) };
  }
  const byteLength = count * elementBytes[element]!;
  // A boolean becomes a slot of a JavaScript array.
  charge(cursor, budget, element === "bool" ? 8 * count : byteLength, key);
  return { type: "array", element, value: typedArray(element, cursor.bytes(byteLength, what)) };
}

/** The bytes were read into a buffer of their own, so it is aligned; little-endian hosts only, as the addon. */
function typedArray(element: Exclude<ElementType, "string">, bytes: Uint8Array): MetadataArray {
  const buffer = bytes.buffer as ArrayBuffer;
  switch (element) {
    case "u8":
      return bytes;
    case "i8":
      return new Int8Array(buffer);
    case "u16":
      return new Uint16Array(buffer);
    case "i16":
      return new Int16Array(buffer);
    case "u32":
      return new Uint32Array(buffer);
    case "i32":
      return new Int32Array(buffer);
    case "f32":
      return new Float32Array(buffer);
    case "f64":
      return new Float64Array(buffer);
    case "u64":
      return new BigUint64Array(buffer);
    case "i64":
      return new BigInt64Array(buffer);
    case "bool":
      return Array.from(bytes, (byte) => byte !== 0);
  }
}

function readAlignment(cursor: Cursor, metadata: ReadonlyMap<string, TypedValue>): number {
  const found = metadata.get("general.alignment");
  if (found === undefined) return defaultAlignment;
  const value = found.value;
  const powerOfTwo = typeof value === "number" && Number.isInteger(Math.log2(value)) && value >= 1;
  if (!powerOfTwo || value > limits.alignment) {
    const shown = found.type === "array" ? "an array" : String(value).slice(0, 40);
    throw cursor.invalid(`general.alignment is ${shown}; expected a power of two up to ${limits.alignment}`);
  }
  return value;
}

interface DirectoryEntry {
  readonly name: string;
  readonly shape: readonly number[];
  readonly typeId: number;
  /** Relative to the data section. */
  readonly offset: bigint;
}

function readDirectory(cursor: Cursor, count: number, wide: boolean): DirectoryEntry[] {
  cursor.expect(count, wide ? 24 : 20, "the tensor directory");
  const names = new Set<string>();
  const entries: DirectoryEntry[] = [];
  for (let i = 0; i < count; i++) {
    const length = cursor.length(wide, limits.tensorNameBytes, `the name length of tensor ${i}`);
    const name = cursor.text(length, `the name of tensor ${i}`);
    if (names.has(name)) throw cursor.invalid(`tensor '${name}' appears twice`, { tensor: name });
    names.add(name);
    const what = `tensor '${name}'`;
    const dims = cursor.u32(`the dimensions of ${what}`);
    if (dims > limits.dims) throw cursor.invalid(`${what} has ${dims} dimensions; at most ${limits.dims} are allowed`);
    const shape: number[] = [];
    for (let d = 0; d < dims; d++) {
      const size = cursor.length(wide, Number.MAX_SAFE_INTEGER, `dimension ${d} of ${what}`);
      if (size === 0) throw cursor.invalid(`dimension ${d} of ${what} is 0`, { tensor: name });
      shape.push(size);
    }
    entries.push({
      name,
      shape,
      typeId: cursor.u32(`the type of ${what}`),
      offset: cursor.u64(`the offset of ${what}`),
    });
  }
  return entries;
}

/** Checks type, row length and extent of an entry against the file. Tensors may come in any order and share bytes. */
function place(cursor: Cursor, entry: DirectoryEntry, dataStart: number, alignment: number): TensorInfo {
  const { name, shape, typeId, offset } = entry;
  const dtype = dtypeById(typeId);
  if (dtype === undefined) {
    throw cursor.unsupported(`tensor '${name}' has type ${typeId}, which is not known`, { tensor: name, typeId });
  }
  const cols = shape[0] ?? 1;
  const row = blocksBytes(dtype, cols);
  if (row === undefined) {
    throw cursor.invalid(
      `tensor '${name}' has rows of ${cols} values, not a whole number of ${dtype.name} blocks of ${dtype.blockValues}`,
      { tensor: name },
    );
  }
  if (offset % BigInt(alignment) !== 0n) {
    throw cursor.invalid(`tensor '${name}' starts at ${offset}, not a multiple of the alignment ${alignment}`);
  }
  // In whole numbers of any size: a product of four hostile dimensions must not wrap or round into range.
  const bytes = shape.slice(1).reduce((product, size) => product * BigInt(size), BigInt(row));
  const end = BigInt(dataStart) + offset + bytes;
  if (end > BigInt(cursor.fileBytes)) {
    throw cursor.invalid(
      `tensor '${name}' [${shape.join(", ")}] ${dtype.name} ends at byte ${end} but the file has ` +
        `${cursor.fileBytes}; ` +
        "it is truncated or damaged, download it again",
      { tensor: name },
    );
  }
  const extent = { file: cursor.path, offset: dataStart + Number(offset), bytes: Number(bytes) };
  return { name, layout: dtype, shape, planes: { blocks: [extent] } };
}
