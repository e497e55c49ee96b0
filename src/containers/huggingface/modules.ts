/** A folder as the modules of its model, under the names and in the order of the folder. */
import { join } from "node:path";
import { isObject, type JsonObject } from "../../formats/json-reader.js";
import { readJsonFile } from "../../formats/small-file.js";
import { readStoredFolder } from "../model-folder/model-folder.js";
import { modelFolderOf } from "../model-folder/named.js";
import { HfConfig } from "./config.js";
import { families } from "./families.js";
import type { Module, ModuleWeight } from "./module-weight.js";
import { formOf, modulesOf, type Place, placeOf, weightOf } from "./tensors.js";

export interface FolderModule extends Module {
  /** Its entry in the tables of names; undefined: no table knows it. */
  readonly place: Place | undefined;
  /** Undefined where it has none, and where no table knows it. */
  readonly weight: ModuleWeight | undefined;
  /** Its weight lies as [inputs][outputs]. */
  readonly transposed: boolean;
}

export interface FolderModel {
  readonly folder: string;
  readonly config: JsonObject;
  readonly modules: readonly FolderModule[];
}

const configBytes = 16 * 2 ** 20;

/**
 * Reads configuration and headers of a folder that opens as a model.
 * @returns undefined when the path names no folder
 * @throws what readStoredFolder and the readers of weights throw
 */
export function readFolderModel(path: string): FolderModel | undefined {
  const model = modelFolderOf(path);
  if (model === undefined) return undefined;
  const config = readJsonFile(join(model.folder, "config.json"), configBytes) ?? {};
  const stored = readStoredFolder(model);
  const known = new HfConfig(path, config);
  const type = known.text("model_type");
  const family = type !== undefined && Object.hasOwn(families, type) ? families[type] : undefined;
  const names = typeof family?.names === "function" ? family.names(known) : (family?.names ?? {});
  const quantization = known.get("quantization_config", "compression_config");
  const modules = [...modulesOf(stored.tensors, isObject(quantization) ? quantization : undefined)].map((module) => {
    const place = placeOf(module.name, names);
    const weight = place === undefined ? undefined : weightOf(module);
    const transposed = place !== undefined && formOf(place, weight?.turned === true).transposed === true;
    return { ...module, place, weight, transposed };
  });
  return { folder: model.folder, config, modules };
}
