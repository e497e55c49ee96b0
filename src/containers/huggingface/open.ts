/**
 * A Hugging Face folder as one more container: config.json becomes the metadata a GGUF file of the model would have,
 * its tensors go by their GGUF names where they lie.
 */
import { basename, join, resolve } from "node:path";
import { HundredweightError } from "../../errors.js";
import { dtypeByName } from "../../formats/dtypes.js";
import { isObject } from "../../formats/json-reader.js";
import { storedBytes } from "../../formats/layouts.js";
import { TypedMetadata } from "../../formats/metadata.js";
import { readJsonFile } from "../../formats/small-file.js";
import type { Checkpoint, ContainerFormat, TensorInfo } from "../../formats/types.js";
import { readStoredFolder } from "../model-folder/model-folder.js";
import type { ModelFolder } from "../model-folder/named.js";
import type { StoredFolder } from "../stored/stored.js";
import { commonKeys } from "./common-keys.js";
import { HfConfig } from "./config.js";
import { families } from "./families.js";
import type { Family } from "./family.js";
import { MetadataBuilder } from "./metadata.js";
import { poolingKeys } from "./pooling-keys.js";
import { type ComputedVectors, ropeKeys } from "./rope-keys.js";
import { namedTensors } from "./tensors.js";
import { tokenizerKeys } from "./tokenizer-keys.js";

const limits = { configBytes: 16 * 2 ** 20 } as const;

/**
 * Reads configuration, headers and vocabulary, never weights.
 * @throws FILE_NOT_FOUND, FILE_IO, FORMAT_INVALID, FORMAT_UNSUPPORTED, ARCHITECTURE_UNKNOWN, MODEL_INVALID,
 *   TOKENIZER_INVALID
 */
export function openHuggingFace(model: ModelFolder): Checkpoint {
  const { folder } = model;
  const path = join(folder, "config.json");
  const json = readJsonFile(path, limits.configBytes);
  const stored = readStoredFolder(model);
  if (json === undefined)
    throw new HundredweightError(
      "FILE_NOT_FOUND",
      `${folder}: has no config.json, which says what its tensors are; put that of the model there, and its tokenizer`,
    );
  return modelOf(new HfConfig(path, json), stored, folder, (config, m) => {
    poolingKeys(folder, m);
    tokenizerKeys(folder, config, m);
  });
}

/** Tensors with the format of the container they lie in. */
export interface StoredModel extends Omit<StoredFolder, "format"> {
  readonly format: ContainerFormat;
}

/**
 * The model of a configuration and stored tensors.
 * @param more adds the keys that stand elsewhere, such as those of the tokenizer
 * @throws ARCHITECTURE_UNKNOWN, MODEL_INVALID, FORMAT_UNSUPPORTED, what `more` throws
 */
export function modelOf(
  config: HfConfig,
  stored: StoredModel,
  place: string,
  more: (config: HfConfig, m: MetadataBuilder) => void,
): Checkpoint {
  const family = familyOf(config);
  const computed: ComputedVectors = new Map();
  const m = new MetadataBuilder(family.arch);
  commonKeys(config, m);
  family.keys?.(config, m);
  ropeKeys(config, m, headDimOf(config, m), computed);
  m.text("/general.name", m.has("/general.name") ? undefined : basename(resolve(place)));
  more(config, m);
  const quantization = config.get("quantization_config", "compression_config");
  const names = typeof family.names === "function" ? family.names(config) : (family.names ?? {});
  const settings = isObject(quantization) ? quantization : undefined;
  const tensors = namedTensors(place, stored.tensors, names, settings);
  guessingBlocks(config, m, tensors);
  for (const [name, values] of computed) tensors.set(name, computedTensor(name, values));
  let tensorBytes = 0;
  for (const tensor of tensors.values()) tensorBytes += storedBytes(tensor.planes);
  return {
    path: place,
    format: stored.format,
    files: stored.files.map(({ path: file, fileBytes }) => ({ path: file, bytes: fileBytes })),
    metadata: new TypedMetadata(m.values, config.path),
    tensors,
    tensorBytes,
  };
}

/** @throws ARCHITECTURE_UNKNOWN */
function familyOf(config: HfConfig): Family {
  const type = config.text("model_type");
  const family = type !== undefined && Object.hasOwn(families, type) ? families[type] : undefined;
  if (family !== undefined) return family;
  const known = Object.keys(families).sort().join(", ");
  throw new HundredweightError(
    "ARCHITECTURE_UNKNOWN",
    `${config.path}: model_type '${type?.slice(0, 100) ?? ""}' is not supported in a folder; supported are ${known}`,
    { name: type },
  );
}

/** Blocks that guess further tokens stand behind the trunk's. config.json does not count them; files may lack them. */
function guessingBlocks(config: HfConfig, m: MetadataBuilder, tensors: ReadonlyMap<string, TensorInfo>): void {
  const [layers, behind] = [config.number("num_hidden_layers"), config.number("num_nextn_predict_layers")];
  if (layers === undefined || !behind) return;
  const prefix = `blk.${layers}.`;
  if (![...tensors.keys()].some((name) => name.startsWith(prefix))) return;
  m.uint("block_count", layers + behind);
  m.uint("nextn_predict_layers", behind);
}

function headDimOf(config: HfConfig, m: MetadataBuilder): number | undefined {
  const own = m.values.get(`${m.arch}.attention.key_length`)?.value;
  if (typeof own === "number") return own;
  const [dim, heads] = [
    config.number("hidden_size", "n_embd", "d_model"),
    config.number("num_attention_heads", "n_head"),
  ];
  return dim === undefined || !heads ? undefined : Math.floor(dim / heads);
}

function computedTensor(name: string, values: Float32Array): TensorInfo {
  const layout = dtypeByName("F32")!;
  return { name, layout, shape: [values.length], planes: { [layout.planes[0]!.name]: [] }, values };
}
