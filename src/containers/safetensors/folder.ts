/** The safetensors of a folder: one file, or shards that an index names. */
import { existsSync, readdirSync, type Stats, statSync } from "node:fs";
import { join } from "node:path";
import { HundredweightError } from "../../errors.js";
import { JsonReader } from "../../formats/json-reader.js";
import { readSmallFile } from "../../formats/small-file.js";
import { readSafetensors, type SafetensorsFile, type StoredTensor } from "./header.js";

export interface SafetensorsFolder {
  readonly files: readonly SafetensorsFile[];
  /** By name, over all files. */
  readonly tensors: ReadonlyMap<string, StoredTensor>;
}

const limits = { indexBytes: 200_000_000, shards: 4096, tensors: 2 ** 20 } as const;
const wholeName = "model.safetensors";
const indexEnding = ".safetensors.index.json";

/**
 * Finds and reads the headers of a folder's safetensors. `consolidated*` files hold the same model a second time, under
 * other names.
 * @throws FILE_NOT_FOUND (no such files, or a shard is missing), FORMAT_INVALID (shards that do not belong together),
 *   and what readSafetensors throws
 */
export function readSafetensorsFolder(folder: string): SafetensorsFolder {
  const names = readdirSync(folder).sort();
  const index = names.includes(`model${indexEnding}`) ? `model${indexEnding}` : onlyOne(names, indexEnding);
  if (names.includes(wholeName)) return joined([readSafetensors(join(folder, wholeName))]);
  if (index !== undefined) return readShards(folder, index);
  const single = onlyOne(names, ".safetensors");
  if (single === undefined) throw nothingThere(folder, names);
  return joined([readSafetensors(join(folder, single))]);
}

/** The one file with this ending that is no second copy of the model. */
function onlyOne(names: readonly string[], ending: string): string | undefined {
  const found = names.filter((name) => name.endsWith(ending) && !/^(consolidated|adapter)/.test(name));
  return found.length === 1 ? found[0] : undefined;
}

function readShards(folder: string, indexName: string): SafetensorsFolder {
  const path = join(folder, indexName);
  const fileOf = readIndex(path);
  const shards = [...new Set(fileOf.values())].sort();
  if (shards.length > limits.shards) throw invalid(path, `names ${shards.length} files`);
  const files = shards.map((shard) => readShard(folder, shard, shards.length));
  const found = joined(files, (tensor, file) => fileOf.get(tensor) === file);
  for (const [tensor, file] of fileOf)
    if (!found.tensors.has(tensor)) throw invalid(path, `tensor '${tensor}' is not in ${file}, where it should be`);
  return found;
}

/** Tensor -> name of its file. Names with a path would lead out of the folder. */
function readIndex(path: string): Map<string, string> {
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
        if (!isPlainName(name)) throw reader.invalid(`the file name '${name.slice(0, 100)}', which is no plain name,`);
        texts.set(name, name);
      }
      fileOf.set(tensor, texts.get(name)!);
    });
  });
  reader.end();
  if (fileOf.size === 0) throw invalid(path, "has no 'weight_map' with tensors");
  return fileOf;
}

function isPlainName(name: string): boolean {
  return /^[^/\\\0]{1,255}$/.test(name) && name.endsWith(".safetensors") && !name.startsWith(".");
}

function readShard(folder: string, name: string, count: number): SafetensorsFile {
  try {
    return readSafetensors(join(folder, name));
  } catch (error) {
    if (!(error instanceof HundredweightError) || error.code !== "FILE_NOT_FOUND") throw error;
    const path = join(folder, name);
    const message = `${path}: one of ${count} files of the model is missing; download it again`;
    throw new HundredweightError("FILE_NOT_FOUND", message, { path }, { cause: error });
  }
}

/** @param belongs whether a tensor of a file, by its name in the folder, is one of the model */
function joined(
  files: readonly SafetensorsFile[],
  belongs: (tensor: string, file: string) => boolean = () => true,
): SafetensorsFolder {
  const tensors = new Map<string, StoredTensor>();
  for (const { path, tensors: own } of files) {
    const name = path.slice(Math.max(path.lastIndexOf("/"), path.lastIndexOf("\\")) + 1);
    for (const tensor of own) {
      const known = tensors.get(tensor.name);
      if (known !== undefined) throw invalid(path, `tensor '${tensor.name}' is in ${known.file} too`);
      if (belongs(tensor.name, name)) tensors.set(tensor.name, tensor);
    }
  }
  return { files, tensors };
}

function nothingThere(folder: string, names: readonly string[]): HundredweightError {
  const has = (ending: RegExp) => names.filter((name) => ending.test(name));
  const [gguf, bins, tensors] = [has(/\.gguf$/i), has(/\.(bin|pth?)$/i), has(/\.safetensors$/)];
  const hint =
    gguf.length > 0
      ? `name a GGUF file in it, such as ${join(folder, gguf[0]!)}`
      : bins.length > 0
        ? `${bins[0]} is a PyTorch checkpoint, which is not read; fetch the safetensors of the model`
        : tensors.length > 1
          ? `there are ${tensors.length} safetensors files and no model${indexEnding} that joins them`
          : "a model's folder holds config.json and model.safetensors";
  return new HundredweightError("FILE_NOT_FOUND", `${folder}: no model in this folder: ${hint}`, { path: folder });
}

function invalid(path: string, message: string): HundredweightError {
  return new HundredweightError("FORMAT_INVALID", `${path}: ${message}`);
}

/**
 * The folder of a model that a path names: itself, or that of its config.json, safetensors or index.
 * @returns undefined when the path names something else
 */
export function modelFolderOf(path: string): string | undefined {
  const found = kindOf(path);
  if (found?.isDirectory()) return path;
  if (found === undefined || !/(^|[/\\])(config\.json|[^/\\]*\.safetensors(\.index\.json)?)$/.test(path))
    return undefined;
  const folder = path.replace(/[^/\\]*$/, "") || ".";
  return existsSync(join(folder, "config.json")) ? folder : undefined;
}

/** Whatever the system refuses is said by whoever opens it. */
function kindOf(path: string): Stats | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false });
  } catch {
    return undefined;
  }
}
