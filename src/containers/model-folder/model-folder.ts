/** The weights of a folder, whatever they are kept in: safetensors, PyTorch checkpoints, an offloaded model, ONNX. */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { HundredweightError } from "../../errors.js";
import { readOffloadFolder } from "../offload/folder.js";
import { readOnnxFile } from "../onnx/folder.js";
import { readPytorchFile, readPytorchFolder } from "../pytorch/folder.js";
import { readSafetensorsFolder } from "../safetensors/folder.js";
import type { StoredFolder } from "../stored/stored.js";
import type { ModelFolder } from "./named.js";

/**
 * Reads the headers of a folder's weights; safetensors come before other copies.
 * @throws FILE_NOT_FOUND (no weights, or a shard is missing), FORMAT_INVALID, FORMAT_UNSUPPORTED, FORMAT_UNKNOWN,
 *   FILE_IO, MODEL_CHANGED
 */
export function readStoredFolder({ folder, file }: ModelFolder): StoredFolder {
  if (file !== undefined) return file.endsWith(".onnx") ? readOnnxFile(file) : readPytorchFile(file);
  const names = readdirSync(folder).sort();
  const offloaded = names.some((name) => name.endsWith(".dat"));
  const readers = [readSafetensorsFolder, readPytorchFolder];
  // Safetensors beside files of an offloaded model are those that its index points into.
  for (const read of offloaded ? [readOffloadFolder, ...readers] : [...readers, readOffloadFolder]) {
    const found = read(folder, names);
    if (found !== undefined) return found;
  }
  const graphs = names.filter((name) => name.endsWith(".onnx"));
  const graph = graphs.includes("model.onnx") ? "model.onnx" : graphs.length === 1 ? graphs[0] : undefined;
  if (graph !== undefined) return readOnnxFile(join(folder, graph));
  throw nothingThere(folder, names);
}

function nothingThere(folder: string, names: readonly string[]): HundredweightError {
  const has = (ending: RegExp) => names.filter((name) => ending.test(name));
  const [gguf, bins, tensors] = [has(/\.gguf$/i), has(/\.(bin|pth?)$/i), has(/\.safetensors$/)];
  const hint =
    gguf.length > 0
      ? `name a GGUF file in it, such as ${join(folder, gguf[0]!)}`
      : tensors.length > 1
        ? `there are ${tensors.length} safetensors files and no model.safetensors.index.json that joins them`
        : bins.length > 1
          ? `there are ${bins.length} PyTorch checkpoints and no pytorch_model.bin.index.json that joins them; name one`
          : "a model's folder holds config.json and model.safetensors, pytorch_model.bin, or what accelerate offloaded";
  return new HundredweightError("FILE_NOT_FOUND", `${folder}: no model in this folder: ${hint}`, { path: folder });
}
