/** The tensors of a folder under their GGUF names: experts stacked, what differs in form said beside each. */
import { HundredweightError } from "../../errors.js";
import type { JsonObject } from "../../formats/json-reader.js";
import { append, type Extent, sliceExtents, slicesOf } from "../../formats/layouts.js";
import type { TensorInfo } from "../../formats/types.js";
import type { StoredTensor } from "../stored/stored.js";
import type { Module, ModuleWeight } from "./module-weight.js";
import { layerNames, modelNames, type NameTable, type PlacedTarget, type Rows, type SplitTarget } from "./names.js";
import { plainWeight, splitName, weightReaders } from "./weights.js";

/** Where the text model's modules are, in models alone and in those of several parts. */
const prefix =
  "(?:(?:model\\.)?language_model\\.(?:model\\.)?|model\\.|transformer\\.|gpt_neox\\.|backbone\\.|bert\\.|roberta\\.)?";
const layerModule = new RegExp(`^${prefix}(?:encoder\\.)?(?:layers|h|layer|blocks)\\.(\\d{1,6})\\.(.+)$`);
const modelModule = new RegExp(`^${prefix}(.+)$`);
const expertModule = /^(.*\bexperts)\.(\d{1,6})\.(.+)$/;

export interface Place extends Omit<PlacedTarget, "to"> {
  /** The prefix of the layer. */
  readonly before: string;
  /** The name behind it; or the rows of several. */
  readonly to: string | SplitTarget["split"];
  readonly joined?: string;
  /** Its number among those that are stacked; undefined: it is not. */
  readonly expert: number | undefined;
}

/** The entry of a module in the tables; undefined for one that no table knows. */
export function placeOf(module: string, own: NameTable): Place | undefined {
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
  if (target === undefined) return undefined;
  if (typeof target === "string") return { before, to: target, expert };
  if ("split" in target) {
    const { split: to, ...rest } = target;
    return { ...rest, before, to, expert };
  }
  return { ...target, before, expert };
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
    for (const [part, info] of tensorsOf(path, module, place)) add(info, `${module.name}.${part}`, place?.expert);
  }
  for (const [name, stack] of stacks) add(stacked(path, name, stack), name);
  // A view of the embeddings is no second matrix.
  if (sameBytes(found.get("output.weight"), found.get("token_embd.weight"))) found.delete("output.weight");
  return found;
}

function sameBytes(a: TensorInfo | undefined, b: TensorInfo | undefined): boolean {
  if (a === undefined || b === undefined || a.layout !== b.layout) return false;
  const place = ({ planes }: TensorInfo): string =>
    Object.values(planes)
      .flat()
      .map(({ file, offset, bytes }) => `${offset} ${bytes} ${file}`)
      .join("\n");
  return a.transposed === b.transposed && place(a) === place(b);
}

export function* modulesOf(
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
function* tensorsOf(
  path: string,
  module: Module,
  place: Place | undefined,
): Generator<[part: string, info: TensorInfo]> {
  if (place === undefined) {
    for (const [part, tensor] of module.parts) {
      const { turned: _, ...weight } = plainWeight(tensor);
      yield [part, { name: tensor.name, ...weight }];
    }
    return;
  }
  const bias = module.parts.get("bias");
  const parts: [part: string, weight: ModuleWeight | undefined][] = [
    ["weight", weightOf(module)],
    ["bias", bias && plainWeight(bias)],
  ];
  for (const [part, found] of parts) {
    if (found === undefined) continue;
    const ending = part === "weight" && module.parts.has("") ? "" : `.${part}`;
    const { turned, ...weight } = found;
    const form = part === "weight" ? formOf(place, turned === true) : {};
    if (typeof place.to === "string") {
      yield [part, { name: `${place.before}${place.to}${ending}`, ...weight, ...form }];
      continue;
    }
    const columns = form.transposed === true;
    const take = columns ? takenColumns : takenRows;
    const joined = place.joined === undefined ? {} : { joined: `${place.before}${place.joined}${ending}` };
    for (const [to, runs] of Object.entries(place.to(columns ? weight.shape[0]! : weight.shape.at(-1)!))) {
      const name = `${place.before}${to}${ending}`;
      yield [part, { name, ...take(path, module.name, weight, runs), ...form, ...joined }];
    }
  }
}

/** Rows of a weight; of a bias its values. */
function takenRows(path: string, name: string, weight: ModuleWeight, runs: Rows): ModuleWeight {
  const [cols, rows] = weight.shape.length === 1 ? [1, weight.shape[0]!] : (weight.shape as [number, number]);
  const { step } = slicesOf(weight.layout, rows, cols);
  const planes = Object.fromEntries(weight.layout.planes.map((plane): [string, Extent[]] => [plane.name, []]));
  let taken = 0;
  for (const [first, count] of runs) {
    if (![first / step, count / step].every(Number.isInteger) || first + count > rows)
      throw invalid(path, `'${name}' of ${rows} rows cannot be cut into heads`);
    const extents = sliceExtents({ ...weight, rows, cols }, 0, first / step, (first + count) / step);
    for (const [i, plane] of weight.layout.planes.entries()) append(planes[plane.name]!, extents[i]!);
    taken += count;
  }
  return { ...weight, shape: weight.shape.length === 1 ? [taken] : [cols, taken], planes };
}

/** Columns of a matrix: a few values of each of its rows. */
function takenColumns(path: string, name: string, weight: ModuleWeight, runs: Rows): ModuleWeight {
  const [cols, rows] = weight.shape as [number, number];
  const plane = weight.layout.planes[0]!;
  const whole = weight.planes[plane.name]![0]!;
  if (weight.layout.planes.length > 1 || plane.cols !== 1 || runs.flat().some((value) => !Number.isInteger(value)))
    throw invalid(path, `'${name}' of ${cols} columns of ${weight.layout.name} cannot be cut into heads`);
  const extents = Array.from({ length: rows }, (_, row) =>
    runs.map(([first, count]): Extent => {
      const offset = whole.offset + (row * cols + first) * plane.bytes;
      return { file: whole.file, offset, bytes: count * plane.bytes };
    }),
  ).flat();
  const taken = runs.reduce((sum, [, count]) => sum + count, 0);
  return { ...weight, shape: [taken, rows], planes: { [plane.name]: extents } };
}

export function weightOf(module: Module): ModuleWeight | undefined {
  for (const read of weightReaders) {
    const weight = read(module);
    if (weight !== undefined) return weight;
  }
  const plain = module.parts.get("weight") ?? module.parts.get("");
  return plain === undefined ? undefined : plainWeight(plain);
}

/** @param turned what lies there is the transpose of what the folder calls it */
export function formOf({ transposed, change }: Place, turned: boolean): Pick<TensorInfo, "transposed" | "change"> {
  return { ...((transposed === true) !== turned && { transposed: true }), ...(change !== undefined && { change }) };
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
