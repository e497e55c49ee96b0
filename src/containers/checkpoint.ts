/** Opens a model whatever its container. */

import { openGguf } from "../formats/gguf-open.js";
import type { Checkpoint } from "../formats/types.js";
import { isApr } from "./apr/header.js";
import { openApr } from "./apr/open.js";
import { openHuggingFace } from "./huggingface/open.js";
import { modelFolderOf } from "./model-folder/model-folder.js";

/**
 * Reads the description of a model, never its weights. `path` is a GGUF file or any shard of a split one, or a Hugging
 * Face folder, its config.json, its index, any of its safetensors, a PyTorch checkpoint in it, or an `.apr` file.
 * @throws FILE_NOT_FOUND, FILE_IO, FORMAT_UNKNOWN, FORMAT_UNSUPPORTED, FORMAT_INVALID, MODEL_CHANGED; of a folder also
 *   ARCHITECTURE_UNKNOWN, MODEL_INVALID, TOKENIZER_INVALID
 */
export async function openCheckpoint(path: string): Promise<Checkpoint> {
  if (isApr(path)) return openApr(path);
  const folder = modelFolderOf(path);
  return folder === undefined ? openGguf(path) : openHuggingFace(folder);
}
