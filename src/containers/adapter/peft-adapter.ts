/**
 * An adapter as a folder of PEFT: adapter_config.json and adapter_model.safetensors. Its modules get GGUF's names by
 * the tables of Hugging Face folders, so what is fused there is cut here in the same way.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Adapter, AdapterPair, PairMatrix } from "../../formats/adapter.js";
import { dtypeByName } from "../../formats/dtypes.js";
import { append, type Extent } from "../../formats/layouts.js";
import { readJsonFile } from "../../formats/small-file.js";
import type { NameTable, Rows } from "../huggingface/names.js";
import { placeOf } from "../huggingface/tensors.js";
import { readSafetensors } from "../safetensors/header.js";
import type { StoredTensor } from "../stored/stored.js";
import { invalid, unsupported } from "./gguf-adapter.js";
import { type PeftConfig, readPeftConfig } from "./peft-config.js";
import { type Halves, stackedPair, withParameters } from "./peft-parameters.js";

export const peftConfigName = "adapter_config.json";
const weightsName = "adapter_model.safetensors";
const configBytes = 2 ** 20;

/**
 * @param tables names that the family of the base may have, beside those that families agree on
 * @throws FILE_NOT_FOUND, FORMAT_INVALID, ADAPTER_INVALID, ADAPTER_UNSUPPORTED, ADAPTER_MISFIT
 */
export function openPeftAdapter(folder: string, tables: readonly NameTable[]): Adapter {
  const configPath = join(folder, peftConfigName);
  const json = readJsonFile(configPath, configBytes);
  if (json === undefined) throw invalid(folder, `has no ${peftConfigName}`);
  const path = join(folder, weightsName);
  if (!existsSync(path) && existsSync(join(folder, "adapter_model.bin")))
    throw unsupported(folder, "holds adapter_model.bin, which is not read; save the adapter with safetensors");
  const config = readPeftConfig(configPath, json);
  const modules = withParameters(path, modulesOf(path, readSafetensors(path).tensors), config);
  const own = tables.find((table) => [...modules.keys()].every((name) => placeOf(name, table) !== undefined));
  const pairs = new Map<string, AdapterPair>();
  const experts = new Map<string, Map<number, AdapterPair>>();
  for (const [name, halves] of modules) {
    const place = placeOf(name, own ?? tables[0]!);
    if (place === undefined) throw unsupported(path, `adapts '${name}', a module that is not known`);
    const pair = pairOf(path, name, halves, config);
    const target = (to: string): string => `${place.before}${to}${to.endsWith(".weight") ? "" : ".weight"}`;
    const add = (to: string, part: AdapterPair): void => {
      if (place.expert === undefined) pairs.set(to, part);
      else experts.set(to, (experts.get(to) ?? new Map()).set(place.expert, part));
    };
    if (typeof place.to === "string") {
      add(target(place.to), pair);
      continue;
    }
    if (pair.b.experts > 1) throw unsupported(path, `adapts '${name}', stacked matrices that are cut into parts`);
    for (const [to, runs] of Object.entries(place.to(pair.b.rows)))
      add(target(to), { ...pair, b: rowsOf(path, pair.b, runs) });
  }
  for (const [to, found] of experts) pairs.set(to, stacked(path, to, found));
  return { path: folder, format: "safetensors", architecture: undefined, pairs };
}

/** `base_model.model.NAME.lora_A.weight`; older versions have the adapter's name behind `lora_A`. */
const halfName = /^(?:base_model\.model\.)?(.+)\.lora_(embedding_)?([AB])(?:\.default)?(?:\.weight)?$/;

function modulesOf(path: string, tensors: readonly StoredTensor[]): Map<string, Halves> {
  const modules = new Map<string, Halves>();
  for (const tensor of tensors) {
    // What the adapter was trained beside: a copy of the base.
    if (tensor.name.endsWith(".base_layer.weight")) continue;
    const [, name, embedding, half] = halfName.exec(tensor.name) ?? [];
    if (name === undefined && /(embed_tokens|lm_head|wte|embed_out)\.weight$/.test(tensor.name))
      throw unsupported(path, `holds '${tensor.name}' whole, as when tokens were added: convert the merged model`);
    if (name === undefined) throw unsupported(path, `has a tensor '${tensor.name}', which is no half of a pair`);
    const halves = modules.get(name) ?? {};
    if (half === "A") halves.a = tensor;
    else halves.b = tensor;
    if (embedding !== undefined) halves.embedding = true;
    modules.set(name, halves);
  }
  if (modules.size === 0) throw invalid(path, "has no tensors");
  return modules;
}

function pairOf(path: string, name: string, { a, b, embedding, parameter }: Halves, config: PeftConfig): AdapterPair {
  if (a === undefined || b === undefined) throw invalid(path, `has only one half of the pair of '${name}'`);
  const [low, high] = [matrixOf(path, a), matrixOf(path, b)];
  if (parameter !== undefined) return stackedPair(path, parameter, low, high, config);
  const scale = config.scaleOf(name, high.cols);
  // It has a column for each token: rows are looked up.
  return embedding
    ? { a: { ...low, rows: low.cols, cols: low.rows, turned: true }, b: high, scale }
    : { a: low, b: high, scale };
}

function matrixOf(path: string, { name, dtype, shape, file, offset, bytes }: StoredTensor): PairMatrix {
  const layout = dtypeByName(dtype);
  if (layout === undefined || !/^(F32|F16|BF16)$/.test(dtype) || shape.length !== 2)
    throw unsupported(path, `has '${name}' of type ${dtype} [${shape.join(", ")}]; matrices of F32, F16, BF16 are`);
  return { name, layout, rows: shape[0]!, cols: shape[1]!, experts: 1, extents: [{ file, offset, bytes }] };
}

/** Rows of the second half: those that lead to one part of a fused matrix. */
function rowsOf(path: string, matrix: PairMatrix, runs: Rows): PairMatrix {
  const { file, offset, bytes } = matrix.extents[0]!;
  const each = bytes / matrix.rows;
  const extents: Extent[] = [];
  let rows = 0;
  for (const [first, count] of runs) {
    if (!Number.isInteger(first) || !Number.isInteger(count) || first + count > matrix.rows)
      throw invalid(path, `'${matrix.name}' of ${matrix.rows} rows cannot be cut into heads`);
    append(extents, { file, offset: offset + first * each, bytes: count * each });
    rows += count;
  }
  return { ...matrix, rows, extents };
}

/** Pairs of all experts, one after the other. */
function stacked(path: string, name: string, found: ReadonlyMap<number, AdapterPair>): AdapterPair {
  const order = [...found].sort(([x], [y]) => x - y);
  const first = order[0]![1];
  const alike = (x: PairMatrix, y: PairMatrix): boolean =>
    x.layout === y.layout && x.rows === y.rows && x.cols === y.cols;
  for (const [i, [expert, pair]] of order.entries())
    if (expert !== i || !alike(pair.a, first.a) || !alike(pair.b, first.b) || pair.scale !== first.scale)
      throw unsupported(path, `adapts some experts of '${name}' and not others, or unlike ones`);
  const join = (half: "a" | "b"): PairMatrix => ({
    ...first[half],
    experts: order.length,
    extents: order.flatMap(([, pair]) => pair[half].extents),
  });
  return { a: join("a"), b: join("b"), scale: first.scale };
}
