/** The safetensors of a folder: one file, or shards that an index names. */
import { join } from "node:path";
import { joined, readShards } from "../stored/shards.js";
import type { StoredFolder } from "../stored/stored.js";
import { readSafetensors } from "./header.js";

const wholeName = "model.safetensors";
const ending = ".safetensors";
const indexEnding = `${ending}.index.json`;

/**
 * Finds and reads the headers of a folder's safetensors. `consolidated*` files hold the same model a second time, under
 * other names.
 * @param names of the folder's files
 * @returns undefined when there are none, or several that nothing joins
 * @throws FILE_NOT_FOUND (a shard is missing), FORMAT_INVALID (shards that do not belong together), and what
 *   readSafetensors throws
 */
export function readSafetensorsFolder(folder: string, names: readonly string[]): StoredFolder | undefined {
  const format = "safetensors";
  const index = names.includes(`model${indexEnding}`) ? `model${indexEnding}` : onlyOne(names, indexEnding);
  if (index !== undefined && !names.includes(wholeName))
    return { format, ...readShards(folder, index, ending, readSafetensors) };
  const single = names.includes(wholeName) ? wholeName : onlyOne(names, ending);
  return single === undefined ? undefined : { format, ...joined([readSafetensors(join(folder, single))]) };
}

/** The one file with this ending that is no second copy of the model. */
function onlyOne(names: readonly string[], ending: string): string | undefined {
  const found = names.filter((name) => name.endsWith(ending) && !/^(consolidated|adapter)/.test(name));
  return found.length === 1 ? found[0] : undefined;
}
