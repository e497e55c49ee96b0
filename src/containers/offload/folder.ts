/**
 * A folder that accelerate offloaded a model into: a file of plain bytes for each tensor, and an index of types and
 * shapes. BF16 stands there as integers of 16 bits, a scalar as a vector of one.
 * @source huggingface/accelerate, src/accelerate/utils/offload.py (offload_weight, load_offloaded_weight)
 */
import { statSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { HundredweightError } from "../../errors.js";
import { isObject, type JsonObject, JsonReader } from "../../formats/json-reader.js";
import { readSmallFile } from "../../formats/small-file.js";
import { checkRegular } from "../../regular-file.js";
import { readSafetensors } from "../safetensors/header.js";
import { isPlainName } from "../stored/shards.js";
import { elementBytes, invalidFile, type StoredFile, type StoredFolder, type StoredTensor } from "../stored/stored.js";

const limits = { indexBytes: 200_000_000, tensors: 2 ** 19, dims: 8, nameBytes: 1024 } as const;
const indexName = "index.json";

/** Types as numpy and torch call them. */
const dtypes: Readonly<Record<string, string>> = {
  float32: "F32",
  float16: "F16",
  bfloat16: "BF16",
  float64: "F64",
  int64: "I64",
  int32: "I32",
  int16: "I16",
  int8: "I8",
  uint8: "U8",
  bool: "BOOL",
  float8_e4m3fn: "F8_E4M3",
  float8_e5m2: "F8_E5M2",
};

/** A safetensors file that entries point into. */
interface Shard {
  readonly file: StoredFile;
  readonly tensors: ReadonlyMap<string, StoredTensor>;
}

/**
 * @param names of the folder's files
 * @returns undefined when it is none
 * @throws FORMAT_INVALID, FORMAT_UNSUPPORTED (an unknown type, a file elsewhere), FILE_NOT_FOUND
 */
export function readOffloadFolder(folder: string, names: readonly string[]): StoredFolder | undefined {
  if (!names.includes(indexName)) return undefined;
  const path = join(folder, indexName);
  const reader = new JsonReader(readSmallFile(path, limits.indexBytes), path);
  const tensors = new Map<string, StoredTensor>();
  const files = new Map<string, StoredFile>();
  const shards = new Map<string, Shard>();
  reader.object((name) => {
    const entry = reader.value();
    if (!isObject(entry)) throw invalidFile(path, `'${name.slice(0, 100)}' is no object`);
    if (tensors.has(name)) throw reader.invalid(`tensor '${name}' twice`);
    if (tensors.size === limits.tensors) throw reader.invalid(`more than ${limits.tensors} tensors`);
    const inShard = typeof entry.safetensors_file === "string";
    const tensor = inShard
      ? shardTensor(folder, path, name, entry, shards)
      : plainTensor(folder, path, name, entry, files);
    tensors.set(name, tensor);
  });
  reader.end();
  if (tensors.size === 0) return undefined;
  for (const { file } of shards.values()) files.set(file.path, file);
  return { format: "offload", files: [...files.values()], tensors };
}

function plainTensor(
  folder: string,
  path: string,
  name: string,
  entry: JsonObject,
  files: Map<string, StoredFile>,
): StoredTensor {
  const { dtype: type, shape } = entry;
  const dtype = typeof type === "string" && Object.hasOwn(dtypes, type) ? dtypes[type] : undefined;
  if (dtype === undefined)
    throw new HundredweightError("FORMAT_UNSUPPORTED", `${path}: '${name}' has the type ${JSON.stringify(type)}`);
  if (!isPlainName(name)) throw invalidFile(path, `'${name.slice(0, 100)}' is no plain name of a file`);
  if (
    !Array.isArray(shape) ||
    shape.length > limits.dims ||
    !shape.every((n) => Number.isSafeInteger(n) && Number(n) >= 0)
  )
    throw invalidFile(path, `'${name}' has the shape ${JSON.stringify(shape)?.slice(0, 100)}`);
  const file = join(folder, `${name}.dat`);
  const stats = statSync(file, { throwIfNoEntry: false });
  if (stats === undefined)
    throw new HundredweightError("FILE_NOT_FOUND", `${file}: is missing, though ${indexName} names it`, { path: file });
  checkRegular(file, stats);
  const bytes = (shape as number[]).reduce((product, size) => product * size, elementBytes[dtype]!);
  if (bytes !== stats.size)
    throw invalidFile(file, `has ${stats.size} bytes; [${shape.join(", ")}] of ${dtype} takes ${bytes}`);
  files.set(file, { path: file, fileBytes: stats.size });
  return { name, dtype, shape: shape as number[], file, offset: 0, bytes };
}

/** An entry that points into a safetensors file, which has to lie in this folder. */
function shardTensor(
  folder: string,
  path: string,
  name: string,
  entry: JsonObject,
  shards: Map<string, Shard>,
): StoredTensor {
  const said = entry.safetensors_file as string;
  const shard = basename(said);
  if (!isPlainName(shard) || resolve(folder, said) !== resolve(folder, shard))
    throw new HundredweightError(
      "FORMAT_UNSUPPORTED",
      `${path}: '${name}' lies in ${said.slice(0, 200)}, outside of this folder; name the folder ` +
        "of those safetensors instead, which holds the whole model",
    );
  let known = shards.get(shard);
  if (known === undefined) {
    const { path: file, fileBytes, tensors } = readSafetensors(join(folder, shard));
    known = { file: { path: file, fileBytes }, tensors: new Map(tensors.map((tensor) => [tensor.name, tensor])) };
    shards.set(shard, known);
  }
  const wanted = typeof entry.weight_name === "string" ? entry.weight_name : name;
  const found = known.tensors.get(wanted);
  if (found === undefined) throw invalidFile(path, `tensor '${wanted}' is not in ${shard}, where it should be`);
  return { ...found, name };
}
