/** A GGUF model of one file or of many: `<prefix>-00001-of-0000N.gguf`. */
import { closeSync, openSync, readSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { HundredweightError } from "../errors.js";
import { limits } from "./cursor.js";
import { type GgufFile, readGgufFile } from "./gguf-read.js";
import { onlyExtent, storedBytes } from "./layouts.js";
import { TypedMetadata, type TypedValue } from "./metadata.js";
import type { Checkpoint, TensorInfo } from "./types.js";

export interface GgufCheckpoint extends Checkpoint {
  readonly format: "gguf";
  readonly formatVersion: number;
  readonly metadata: TypedMetadata;
  readonly shards: readonly GgufFile[];
}

const shardName = /^(.*)-(\d{5})-of-(\d{5})(\.gguf)$/i;

/**
 * Opens a file, or a whole split model given any of its shards. Metadata is that of the first shard: the others repeat
 * only the split keys, and each has its own alignment and data section.
 * @throws as readGgufFile; FILE_NOT_FOUND names a missing shard, FORMAT_INVALID shards that do not belong together
 */
export function openGguf(path: string): GgufCheckpoint {
  const given = readGgufFile(path);
  const count = splitCount(given);
  if (isJoined(given))
    throw invalid(
      given,
      `behind the ${given.tensors.length} tensors of this file ` +
        `${count > 1 ? `(the first of ${count} shards) ` : ""}another GGUF file begins: ` +
        "files joined with cat are no model; use the shards as they are, any of them as MODEL, or join them " +
        "with `gguf-split --merge`",
    );
  const shards = count > 1 ? readShards(given, count) : [given];

  const tensors = new Map<string, TensorInfo>();
  let tensorBytes = 0;
  for (const shard of shards) {
    for (const tensor of shard.tensors) {
      if (tensors.has(tensor.name)) throw invalid(shard, `tensor '${tensor.name}' is in another shard too`);
      if (tensors.size === limits.tensors) throw invalid(shard, `the model has more than ${limits.tensors} tensors`);
      tensors.set(tensor.name, tensor);
      tensorBytes += storedBytes(tensor.planes);
    }
  }
  const first = shards[0]!;
  const expected = count > 1 ? integer(first, "split.tensors.count") : undefined;
  if (expected !== undefined && expected !== tensors.size) {
    throw invalid(first, `split.tensors.count is ${expected} but the ${count} shards hold ${tensors.size} tensors`);
  }
  return {
    path,
    format: "gguf",
    formatVersion: first.version,
    files: shards.map((shard) => ({ path: shard.path, bytes: shard.fileBytes })),
    metadata: new TypedMetadata(first.metadata, first.path),
    tensors,
    tensorBytes,
    shards,
  };
}

/** Whether another file begins where this one's data end, as it is or padded. */
function isJoined({ path, fileBytes, dataStart, alignment, tensors }: GgufFile): boolean {
  const end = tensors.map(onlyExtent).reduce((last, { offset, bytes }) => Math.max(last, offset + bytes), dataStart);
  const padded = Math.ceil(end / alignment) * alignment;
  if (end + 8 > fileBytes) return false;
  const fd = openSync(path, "r");
  try {
    const word = Buffer.alloc(4);
    return [end, padded].some((at) => readSync(fd, word, 0, 4, at) === 4 && word.toString("latin1") === "GGUF");
  } finally {
    closeSync(fd);
  }
}

/** 1 for a file that is not split (0 is what merging writes). */
function splitCount(file: GgufFile): number {
  const count = integer(file, "split.count") ?? 0;
  if (count < 0 || count > limits.splitFiles) throw invalid(file, `split.count is ${count}`);
  return Math.max(count, 1);
}

function readShards(given: GgufFile, count: number): GgufFile[] {
  const name = shardName.exec(basename(given.path));
  if (name === null) {
    throw invalid(
      given,
      `one of ${count} shards, but not named <name>-00001-of-${pad(count)}.gguf, so the others cannot be found`,
    );
  }
  if (Number(name[3]) !== count) throw invalid(given, `split.count is ${count} but the name says ${Number(name[3])}`);
  const shards: GgufFile[] = [];
  for (let i = 0; i < count; i++) {
    const path = join(dirname(given.path), `${name[1]}-${pad(i + 1)}-of-${name[3]}${name[4]}`);
    const shard = Number(name[2]) === i + 1 ? given : readShard(path, i, count);
    const number = integer(shard, "split.no");
    if (number !== i) throw invalid(shard, `split.no is ${number ?? "missing"}; expected ${i} by its name`);
    const itsCount = integer(shard, "split.count");
    if (itsCount !== count) throw invalid(shard, `split.count is ${itsCount ?? "missing"}; expected ${count}`);
    shards.push(shard);
  }
  return shards;
}

function readShard(path: string, index: number, count: number): GgufFile {
  try {
    return readGgufFile(path);
  } catch (error) {
    if (!(error instanceof HundredweightError) || error.code !== "FILE_NOT_FOUND") throw error;
    const message = `${path}: shard ${index + 1} of ${count} is missing; put all shards into one folder`;
    throw new HundredweightError("FILE_NOT_FOUND", message, { path }, { cause: error });
  }
}

function integer(file: GgufFile, key: string): number | undefined {
  const found: TypedValue | undefined = file.metadata.get(key);
  if (found === undefined) return undefined;
  if (!Number.isSafeInteger(found.value)) throw invalid(file, `metadata '${key}' is not an integer`);
  return found.value as number;
}

const pad = (n: number): string => String(n).padStart(5, "0");

function invalid(file: GgufFile, message: string): HundredweightError {
  return new HundredweightError("FORMAT_INVALID", `${file.path}: ${message}`);
}
