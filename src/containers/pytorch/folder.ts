/** The PyTorch checkpoints of a folder: one file, or shards that an index names. */
import { join } from "node:path";
import { joined, readShards } from "../stored/shards.js";
import type { StoredFolder } from "../stored/stored.js";
import { readPytorch } from "./state-dict.js";

const wholeName = "pytorch_model.bin";
const indexName = "pytorch_model.bin.index.json";

/** Not the weights: what training keeps beside them. */
const others = /^(training_args|optimizer|scheduler|rng_state|scaler|adapter)/;

/**
 * @param names of the folder's files
 * @returns undefined when there are none, or several that nothing joins
 * @throws what readShards and readPytorch throw
 */
export function readPytorchFolder(folder: string, names: readonly string[]): StoredFolder | undefined {
  if (names.includes(indexName) && !names.includes(wholeName))
    return { format: "pytorch", ...readShards(folder, indexName, ".bin", readPytorch) };
  const found = names.filter((name) => /\.(bin|pth?)$/.test(name) && !others.test(name));
  const name = found.includes(wholeName) ? wholeName : found.length === 1 ? found[0] : undefined;
  return name === undefined ? undefined : readPytorchFile(join(folder, name));
}

export function readPytorchFile(path: string): StoredFolder {
  return { format: "pytorch", ...joined([readPytorch(path)]) };
}
