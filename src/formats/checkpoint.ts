/** Opens a model whatever its container. */
import { openGguf } from "./gguf-open.js";
import type { Checkpoint } from "./types.js";

/**
 * Reads the description of a model, never its weights. `path` is a GGUF file or any shard of a split one.
 * @throws FILE_NOT_FOUND, FILE_IO, FORMAT_UNKNOWN, FORMAT_UNSUPPORTED (also a folder or a safetensors file),
 *   FORMAT_INVALID, MODEL_CHANGED
 */
export async function openCheckpoint(path: string): Promise<Checkpoint> {
  return openGguf(path);
}
