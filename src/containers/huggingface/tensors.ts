/** The tensors of a folder under their GGUF names: experts stacked, what differs in form said beside each. */
import { HundredweightError } from "../../errors.js";
import type { JsonObject } from "../../formats/json-reader.js";
import type { Extent } from "../../formats/layouts.js";
import type { TensorInfo } from "../../formats/types.js";
import type { StoredTensor } from "../safetensors/header.js";
import { layerNames, modelNames, type NameTable, type PlacedTarget } from "./names.js";
import { type Module, type ModuleWeight, plainWeight, splitName, weightReaders } from "./weights.js";

/** Where the text model's modules are, in models alone and in those of several parts. */
const prefix =
  "(?:(?:model\\.)?language_model\\.(?:model\\.)?|model\\.|transformer\\.|gpt_neox\\.|backbone\\.|bert\\.|roberta\\.)?";
const layerModule = new RegExp(`^${prefix}(?:encoder\\.)?(?:layers|h|layer|blocks)\\.(\\d{1,6})\\.(.+)$`);
const modelModule = new RegExp(`^${prefix}(.+)$`);
const expertModule = /^(.*\bexperts)\.(\d{1,6})\.(.+)$/;

interface Place extends PlacedTarget {
  /** The name, of a layer's tensor with the prefix of its layer. */
  readonly to: string;
  /** Its number among those that are stacked; undefined: it is not. */
  readonly expert: number | undefined;
}

/** The entry of a module in the tables; undefined for one that no table knows. */
function placeOf(module: string, own: NameTable): Place | undefined {
  const [, layer, inLayer] = layerModule.exec(module) ?? [];
  if (inLayer === undefined) {
    const [, name] = modelModule.exec(module) ?? [];
    return placed(own[name!] ?? modelNames[name!], "", undefined);
  }
  const [, before, expert, behind] = expertModule.exec(inLayer) ?? [];
  const name = before === undefined ? inLayer : `${before}.E.${behind}`;
  return placed(
    own[name] ?? layerNames[name],
    `blk.${Number(layer)}.`,
    expert === undefined ? undefined : Number(expert),
  );
}

function placed(target: NameTable[string] | undefined, before: string, expert: number | undefined): Place | undefined {
  if (target === undefined || target === "") return undefined;
  const { to, ...rest } = typeof target === "string" ? { to: target } : target;
  return { ...rest, to: before + to, expert };
}

/**
 * @param own names of the family
 * @throws MODEL_INVALID when a stack has gaps or unlike experts, or two tensors are one
 */
export function namedTensors(
  path: string,
  stored: ReadonlyMap<string, StoredTensor>,
  own: NameTable,
  quantization: JsonObject | undefined,
): Map<string, TensorInfo> {
  const found = new Map<string, TensorInfo>();
  const stacks = new Map<string, Map<number, TensorInfo>>();
  const add = (info: TensorInfo, source: string, expert?: number): void => {
    if (expert !== undefined) {
      const stack = stacks.get(info.name) ?? new Map<number, TensorInfo>();
      if (stack.has(expert)) throw invalid(path, `'${source}' is expert ${expert} of '${info.name}' a second time`);
      stacks.set(info.name, stack.set(expert, info));
    } else if (found.has(info.name)) throw invalid(path, `'${source}' is '${info.name}' a second time`);
    else found.set(info.name, info);
  };
  for (const module of modulesOf(stored, quantization)) {
    const place = placeOf(module.name, own);
    for (const [part, info] of tensorsOf(module, place)) add(info, `${module.name}.${part}`, place?.expert);
  }
  for (const [name, stack] of stacks) add(stacked(path, name, stack), name);
  return found;
}

function* modulesOf(
  stored: ReadonlyMap<string, StoredTensor>,
  quantization: JsonObject | undefined,
): Generator<Module> {
  const parts = new Map<string, Map<string, StoredTensor>>();
  for (const tensor of stored.values()) {
    const [module, part] = splitName(tensor.name);
    const known = parts.get(module);
    if (known === undefined) parts.set(module, new Map([[part, tensor]]));
    else known.set(part, tensor);
  }
  for (const [name, own] of parts) yield { name, parts: own, quantization };
}

/** A module's weight and bias; of modules that no table knows, all tensors under their own names. */
function* tensorsOf(module: Module, place: Place | undefined): Generator<[part: string, info: TensorInfo]> {
  const weight = place === undefined ? undefined : weightOf(module);
  for (const [part, tensor] of module.parts) {
    if (place === undefined) {
      const { name } = tensor;
      yield [part, { name, ...plainWeight(tensor) }];
    } else if (part === "bias") yield [part, { name: `${place.to}.bias`, ...plainWeight(tensor), ...formOf(place) }];
  }
  if (place === undefined || weight === undefined) return;
  const name = module.parts.has("") ? place.to : `${place.to}.weight`;
  yield ["weight", { name, ...weight, ...formOf(place) }];
}

function weightOf(module: Module): ModuleWeight | undefined {
  for (const read of weightReaders) {
    const weight = read(module);
    if (weight !== undefined) return weight;
  }
  const plain = module.parts.get("weight") ?? module.parts.get("");
  return plain === undefined ? undefined : plainWeight(plain);
}

function formOf({ transposed, change }: Place): Pick<TensorInfo, "transposed" | "change"> {
  return { ...(transposed && { transposed }), ...(change !== undefined && { change }) };
}

/** Experts that are tensors of their own as one, in the order of their numbers. */
function stacked(path: string, name: string, stack: ReadonlyMap<number, TensorInfo>): TensorInfo {
  const infos = Array.from({ length: stack.size }, (_, expert) => {
    const info = stack.get(expert);
    if (info === undefined) throw invalid(path, `expert ${expert} of '${name}' is missing`);
    return info;
  });
  const first = infos[0]!;
  const shape = first.shape.join();
  if (infos.some((info) => info.layout !== first.layout || info.shape.join() !== shape))
    throw invalid(path, `the experts of '${name}' are not alike`);
  const planes = first.layout.planes.map((plane): [string, Extent[]] => [
    plane.name,
    infos.flatMap((info) => info.planes[plane.name] ?? []),
  ]);
  return { ...first, shape: [...first.shape, infos.length], planes: Object.fromEntries(planes) };
}

function invalid(path: string, message: string): HundredweightError {
  return new HundredweightError("MODEL_INVALID", `${path}: ${message}`);
}
