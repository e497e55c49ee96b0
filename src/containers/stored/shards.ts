/** Shards of a model, by the index that says which file each tensor is in. */
import { basename, join } from "node:path";
import { HundredweightError } from "../../errors.js";
import { JsonReader } from "../../formats/json-reader.js";
import { readSmallFile } from "../../formats/small-file.js";
import { invalidFile, type StoredFile, type StoredTensor } from "./stored.js";

const limits = { indexBytes: 200_000_000, shards: 4096, tensors: 2 ** 20 } as const;

/** A file of weights with its tensors. */
export interface WeightFile extends StoredFile {
  readonly tensors: readonly StoredTensor[];
}

interface Joined {
  readonly files: readonly StoredFile[];
  readonly tensors: ReadonlyMap<string, StoredTensor>;
}

/**
 * Reads the headers of all shards.
 * @param ending of the shards' names
 * @throws FILE_NOT_FOUND (a shard is missing), FORMAT_INVALID (shards that do not belong together), and what `read`
 *   throws
 */
export function readShards(
  folder: string,
  indexName: string,
  ending: string,
  read: (path: string) => WeightFile,
): Joined {
  const path = join(folder, indexName);
  const fileOf = readIndex(path, ending);
  const shards = [...new Set(fileOf.values())].sort();
  if (shards.length > limits.shards) throw invalidFile(path, `names ${shards.length} files`);
  const files = shards.map((shard) => readShard(folder, shard, shards.length, read));
  const found = joined(files, (tensor, file) => fileOf.get(tensor) === file);
  for (const [tensor, file] of fileOf)
    if (!found.tensors.has(tensor)) throw invalidFile(path, `tensor '${tensor}' is not in ${file}, where it should be`);
  return found;
}

/** Tensor -> name of its file. Names with a path would lead out of the folder. */
function readIndex(path: string, ending: string): Map<string, string> {
  const reader = new JsonReader(readSmallFile(path, limits.indexBytes), path);
  const fileOf = new Map<string, string>();
  const texts = new Map<string, string>();
  reader.object((key) => {
    if (key !== "weight_map") return reader.skip();
    reader.object((tensor) => {
      const name = reader.string();
      if (fileOf.has(tensor)) throw reader.invalid(`tensor '${tensor}' twice`);
      if (fileOf.size === limits.tensors) throw reader.invalid(`more than ${limits.tensors} tensors`);
      if (!texts.has(name)) {
        if (!isPlainName(name) || !name.endsWith(ending))
          throw reader.invalid(`the file name '${name.slice(0, 100)}', which is no plain name,`);
        texts.set(name, name);
      }
      fileOf.set(tensor, texts.get(name)!);
    });
  });
  reader.end();
  if (fileOf.size === 0) throw invalidFile(path, "has no 'weight_map' with tensors");
  return fileOf;
}

/** A name that stays in its folder. */
export function isPlainName(name: string): boolean {
  return /^[^/\\\0]{1,255}$/.test(name) && !name.startsWith(".");
}

function readShard(folder: string, name: string, count: number, read: (path: string) => WeightFile): WeightFile {
  try {
    return read(join(folder, name));
  } catch (error) {
    if (!(error instanceof HundredweightError) || error.code !== "FILE_NOT_FOUND") throw error;
    const path = join(folder, name);
    const message = `${path}: one of ${count} files of the model is missing; download it again`;
    throw new HundredweightError("FILE_NOT_FOUND", message, { path }, { cause: error });
  }
}

/** @param belongs whether a tensor of a file, by its name in the folder, is one of the model */
export function joined(
  files: readonly WeightFile[],
  belongs: (tensor: string, file: string) => boolean = () => true,
): Joined {
  const tensors = new Map<string, StoredTensor>();
  for (const { path, tensors: own } of files) {
    const name = basename(path);
    for (const tensor of own) {
      const known = tensors.get(tensor.name);
      if (known !== undefined) throw invalidFile(path, `tensor '${tensor.name}' is in ${known.file} too`);
      if (belongs(tensor.name, name)) tensors.set(tensor.name, tensor);
    }
  }
  return { files: files.map(({ path, fileBytes }) => ({ path, fileBytes })), tensors };
}
