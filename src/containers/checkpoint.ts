/** Opens a model whatever its container. What reads the other containers is loaded when one of them is opened. */

import { openGguf } from "../formats/gguf-open.js";
import type { Checkpoint } from "../formats/types.js";
import { isApr, modelFolderOf } from "./model-folder/named.js";

/**
 * Reads the description of a model, never its weights. `path` is a GGUF file or any shard of a split one, or a Hugging
 * Face folder, its config.json, its index, any of its safetensors, a PyTorch checkpoint in it, or an `.apr` file.
 * @throws FILE_NOT_FOUND, FILE_IO, FORMAT_UNKNOWN, FORMAT_UNSUPPORTED, FORMAT_INVALID, MODEL_CHANGED; of a folder also
 *   ARCHITECTURE_UNKNOWN, MODEL_INVALID, TOKENIZER_INVALID
 */
export async function openCheckpoint(path: string): Promise<Checkpoint> {
  if (isApr(path)) return (await import("./apr/open.js")).openApr(path);
  const folder = modelFolderOf(path);
  return folder === undefined ? openGguf(path) : (await import("./huggingface/open.js")).openHuggingFace(folder);
}
