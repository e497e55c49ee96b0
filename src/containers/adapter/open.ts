/** Opens an adapter whatever its container. */
import { existsSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { HundredweightError } from "../../errors.js";
import type { Adapter } from "../../formats/adapter.js";
import type { JsonObject } from "../../formats/json-reader.js";
import { readJsonFile } from "../../formats/small-file.js";
import type { Checkpoint } from "../../formats/types.js";
import { HfConfig } from "../huggingface/config.js";
import { families } from "../huggingface/families.js";
import type { Family } from "../huggingface/family.js";
import type { NameTable } from "../huggingface/names.js";
import { openGgufAdapter } from "./gguf-adapter.js";
import { openPeftAdapter, peftConfigName } from "./peft-adapter.js";

const configBytes = 16 * 2 ** 20;

/**
 * Reads the description of an adapter, never its numbers. `path` is a GGUF file, a folder of PEFT, or a file in one.
 * @param base the model that it is for: says what the modules of a folder are called
 * @throws FILE_NOT_FOUND, FILE_IO, FORMAT_*, ADAPTER_INVALID, ADAPTER_UNSUPPORTED
 */
export function openAdapter(path: string, base: Checkpoint): Adapter {
  const folder = peftFolderOf(path);
  return folder === undefined ? openGgufAdapter(path) : openPeftAdapter(folder, tablesOf(base));
}

/** A file of such a folder that names it. */
const peftFile = /^adapter_(config\.json|model\.(safetensors|bin))$/;

function peftFolderOf(path: string): string | undefined {
  const found = statSync(path, { throwIfNoEntry: false });
  if (found === undefined) throw new HundredweightError("FILE_NOT_FOUND", `${path}: no such adapter`, { path });
  if (found.isDirectory()) {
    if (existsSync(join(path, peftConfigName))) return path;
    throw new HundredweightError("ADAPTER_INVALID", `${path}: has no ${peftConfigName}`, { path });
  }
  return peftFile.test(basename(path)) ? dirname(path) : undefined;
}

/** The names that modules of the base have; of a GGUF file those of each family that it may have been made of. */
function tablesOf({ path, format, metadata }: Checkpoint): NameTable[] {
  if (format !== "gguf") {
    const config = new HfConfig(path, readJsonFile(join(path, "config.json"), configBytes) ?? {});
    const type = config.text("model_type");
    const family = type !== undefined && Object.hasOwn(families, type) ? families[type] : undefined;
    return [family === undefined ? {} : namesOf(family, config)];
  }
  const arch = metadata.string("general.architecture") ?? "";
  const heads = metadata.get(`${arch}.attention.head_count`) ?? 0;
  const json = {
    num_attention_heads: heads,
    num_kv_heads: metadata.get(`${arch}.attention.head_count_kv`) ?? heads,
    new_decoder_architecture: true,
  } as JsonObject;
  const own = Object.values(families).filter((family) => family.arch === arch);
  const tables = own.map((family) => namesOf(family, new HfConfig(path, json)));
  return tables.length === 0 ? [{}] : tables;
}

/** A table that needs more of the configuration than a GGUF file says is none. */
function namesOf({ names = {} }: Family, config: HfConfig): NameTable {
  if (typeof names !== "function") return names;
  try {
    return names(config);
  } catch {
    return {};
  }
}
