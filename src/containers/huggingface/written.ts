/** A folder that is to be written, opened as it will be opened. */
import type { Checkpoint } from "../../formats/types.js";
import type { StoredTensor } from "../stored/stored.js";
import { HfConfig } from "./config.js";
import { families } from "./families.js";
import { modelOf } from "./open.js";
import { type Place, placeOf } from "./tensors.js";

/**
 * The entry of a module in the tables of names, by its full name in a folder of this configuration.
 * @returns a function that gives undefined for a module that no table knows
 */
export function placesOf(config: Readonly<Record<string, unknown>>): (module: string) => Place | undefined {
  const known = new HfConfig("config.json", config as HfConfig["json"]);
  const family = families[known.text("model_type") ?? ""];
  const names = typeof family?.names === "function" ? family.names(known) : (family?.names ?? {});
  return (module) => placeOf(module, names);
}

/**
 * The model that a configuration and tensors will be, without its tokenizer. No file is read.
 * @throws what opening such a folder throws
 */
export function writtenModel(
  place: string,
  config: Readonly<Record<string, unknown>>,
  tensors: ReadonlyMap<string, StoredTensor>,
): Checkpoint {
  const stored = { format: "safetensors" as const, files: [], tensors };
  return modelOf(new HfConfig(place, config as HfConfig["json"]), stored, place, () => {});
}
