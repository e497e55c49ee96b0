/**
 * One `.apr` file of version 2: header, metadata as JSON, and where its tensors lie. A stranger's: lengths, offsets and
 * names are checked before anything is sized by them.
 * @source paiml/aprender, crates/aprender-core/src/format/v2; byte by byte in docs/formats.md
 */
import { crc32 } from "node:zlib";
import { HundredweightError } from "../../errors.js";
import { Cursor } from "../../formats/cursor.js";
import { blocksBytes, dtypeById } from "../../formats/dtypes.js";
import { isObject, type JsonObject, JsonReader } from "../../formats/json-reader.js";
import { sniff } from "../../formats/sniff.js";
import type { StoredTensor } from "../stored/stored.js";

export const aprMagic = Buffer.from("APR\0");
export const aprHeaderBytes = 64;
/** Everything but the footer begins on a multiple of this. */
export const aprAlignment = 64;
/** The flag of files that lie row by row, which every writer sets. */
export const aprRowMajor = 0x400;

const limits = { metadataBytes: 16 * 2 ** 20, tensors: 2 ** 17, nameBytes: 256, dims: 8 } as const;

/** Flags of files that cannot be read where they lie, and what to do. */
const refused: readonly (readonly [flag: number, what: string])[] = [
  [0x3, "is compressed, so its tensors lie nowhere; write it again without compression"],
  [0x4, "is encrypted; decrypt it first"],
  [0x10, "is one of several shards; join them into one file first"],
  [0x800, "has its matrices column by column; write it again row by row"],
];

/** The number and the size of each type that is the format's own; ggml's types have ggml's numbers. */
const plain: Readonly<Record<number, readonly [name: string, bytes: number]>> = {
  0: ["F32", 4],
  1: ["F16", 2],
  30: ["BF16", 2],
  3: ["F64", 8],
  4: ["I32", 4],
  5: ["I64", 8],
  6: ["I8", 1],
  7: ["U8", 1],
};
const [aprQ4, aprQ8] = [new Set([8, 128]), new Set([9, 129])];

export interface AprFile {
  readonly path: string;
  readonly fileBytes: number;
  readonly metadata: JsonObject;
  readonly tensors: ReadonlyMap<string, StoredTensor>;
}

/** @throws FILE_*, FORMAT_UNKNOWN, FORMAT_UNSUPPORTED, FORMAT_INVALID, MODEL_CHANGED */
export function readApr(path: string): AprFile {
  const cursor = new Cursor(path);
  try {
    const head = cursor.bytes(Math.min(aprHeaderBytes, cursor.fileBytes), "the file");
    if (!aprMagic.equals(head.subarray(0, 4))) {
      const guess = sniff(head);
      throw new HundredweightError(guess.code, `${path}: not an .apr file of version 2; it looks like ${guess.text}`);
    }
    if (head.length < aprHeaderBytes) throw cursor.invalid("it ends within its header");
    const view = new DataView(head.buffer, head.byteOffset);
    if (head[4] !== 2) throw cursor.unsupported(`.apr of version ${head[4]}; version 2 is known`);
    const sum = crc32(head.subarray(44, 64), crc32(head.subarray(0, 40)));
    if (sum !== view.getUint32(40, true)) throw cursor.invalid("the header's checksum is wrong; download it again");
    const flags = view.getUint16(6, true);
    for (const [flag, what] of refused) if (flags & flag) throw cursor.unsupported(`an .apr file that ${what}`);
    const count = view.getUint32(8, true);
    if (count > limits.tensors) throw cursor.invalid(`it has ${count} tensors, at most ${limits.tensors} are read`);
    const metadata = readMetadata(cursor, wide(cursor, view, 12), view.getUint32(20, true));
    const dataStart = wide(cursor, view, 32);
    cursor.seek(wide(cursor, view, 24));
    const tensors = new Map<string, StoredTensor>();
    for (let i = 0; i < count; i++) {
      const tensor = readEntry(cursor, dataStart);
      if (tensors.has(tensor.name)) throw cursor.invalid(`tensor '${tensor.name}' twice`);
      tensors.set(tensor.name, tensor);
    }
    return { path, fileBytes: cursor.fileBytes, metadata, tensors };
  } finally {
    cursor.close();
  }
}

/** A place in the file. */
function wide(cursor: Cursor, view: DataView, at: number): number {
  const value = view.getBigUint64(at, true);
  if (value > BigInt(cursor.fileBytes)) throw cursor.invalid(`the header names byte ${value} of ${cursor.fileBytes}`);
  return Number(value);
}

function readMetadata(cursor: Cursor, offset: number, bytes: number): JsonObject {
  if (bytes > limits.metadataBytes) throw cursor.invalid(`${bytes} bytes of metadata, at most 16 MiB are allowed`);
  cursor.seek(offset);
  const reader = new JsonReader(cursor.bytes(bytes, "the metadata"), cursor.path);
  const value = reader.value();
  reader.end();
  if (!isObject(value)) throw cursor.invalid("the metadata is no object");
  return value;
}

function readEntry(cursor: Cursor, dataStart: number): StoredTensor {
  const [low, high] = cursor.bytes(2, "the length of a name");
  const length = low! + 256 * high!;
  if (length > limits.nameBytes) throw cursor.invalid(`a name of ${length} bytes`);
  const name = cursor.text(length, "a name");
  const [type, dims] = cursor.bytes(2, `the type of '${name}'`) as unknown as [number, number];
  if (dims > limits.dims) throw cursor.invalid(`tensor '${name}' has ${dims} dimensions`);
  const shape = Array.from({ length: dims }, () => numberOf(cursor, `the shape of '${name}'`));
  const [at, bytes] = [numberOf(cursor, `the place of '${name}'`), numberOf(cursor, `the size of '${name}'`)];
  if (dataStart + at + bytes > cursor.fileBytes)
    throw cursor.invalid(`tensor '${name}' reaches beyond the end of the file; it is truncated, download it again`);
  const dtype = typeOf(cursor, name, type, shape, bytes);
  return { name, dtype, shape, file: cursor.path, offset: dataStart + at, bytes };
}

function numberOf(cursor: Cursor, what: string): number {
  const value = cursor.u64(what);
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw cursor.invalid(`${what} is ${value}`);
  return Number(value);
}

/** Some numbers are the format's own and ggml's at once: the bytes tell which is meant. */
function typeOf(cursor: Cursor, name: string, type: number, shape: readonly number[], bytes: number): string {
  const values = shape.reduce((product, size) => product * size, 1);
  const own = plain[type];
  if (own !== undefined && bytes === values * own[1]) return own[0];
  if (aprQ4.has(type) && bytes === 18 * Math.ceil(values / 32)) return "APR_Q4";
  if (aprQ8.has(type) && bytes === 4 + values) return "APR_Q8";
  const dtype = dtypeById(type);
  const cols = shape.at(-1) ?? 1;
  const row = dtype === undefined ? undefined : blocksBytes(dtype, cols);
  if (dtype !== undefined && row !== undefined && bytes === (values / cols) * row) return dtype.name;
  throw cursor.invalid(`tensor '${name}' [${shape.join(", ")}] of type ${type} has ${bytes} bytes`);
}
