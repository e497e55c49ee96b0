/**
 * Random models of a few hundred kilobytes, derived from the declarations: every tensor a declaration names, filled so
 * that the model is far from uniform and every mechanism matters. For tests; llama.cpp loads them too.
 */

import { quantizeRow } from "../compress/quantize.js";
import { HundredweightError } from "../errors.js";
import { type TensorSource, writeGguf } from "../formats/gguf-write.js";
import { blocksBytes, type Dtype, dtypeByName, type TypedValue } from "../formats/index.js";
import type { TinyMetadata } from "../models/flow/architecture.js";
import { type Role, randomValue, type TensorDeclaration } from "../models/flow/tensors.js";
import { archMetadata, declareOnPaper, paperTensors } from "../models/paper.js";
import { findArchitecture } from "../models/registry.js";
import { idsType, randomIds } from "./ids.js";
import { fillNormals, seededWords } from "./random.js";
import { tinyTokenizer, tinyTokens } from "./tiny-tokenizer.js";

export interface TinyOptions {
  /** One of the declaration's variants; the first by default. */
  readonly variant?: string;
  /** Type of the matrices (routers stay F32), or one for each role with `F32` for the rest. Default F32. */
  readonly dtype?: string | Partial<Record<Role, string>>;
  /** Width: 64, or 256 where the K types apply. Default 64, or 256 when a type needs it. */
  readonly dims?: 64 | 256;
  readonly seed?: number;
  /** Metadata that replaces the variant's, without the architecture prefix. */
  readonly overrides?: TinyMetadata;
}

export interface TinyModel {
  readonly path: string;
  readonly vocab: number;
}

/**
 * Writes a random model of an architecture.
 * @throws OPTION_INVALID for an unknown variant or type, FILE_IO
 */
export async function makeTinyModel(path: string, arch: string, options: TinyOptions = {}): Promise<TinyModel> {
  const declaration = findArchitecture(arch);
  const variant = declaration.tiny.find((t) => options.variant === undefined || t.variant === options.variant);
  if (variant === undefined)
    throw new HundredweightError("OPTION_INVALID", `'${arch}' has no tiny variant '${options.variant}'`);
  const dtypes = roleTypes(options.dtype ?? "F32");
  const needs256 = Object.values(dtypes).some((d) => d.blockValues > 64);
  const dims = options.dims ?? (needs256 ? 256 : 64);
  const vocab = tinyTokens().length;

  const metadata: [string, TypedValue][] = [
    ["general.architecture", { type: "string", value: arch }],
    ["general.name", { type: "string", value: `random tiny model (${variant.variant})` }],
    ...archMetadata(arch, { ...variant.metadata(dims), ...options.overrides }),
    ...tinyTokenizer(declaration.makes === "vectors"),
  ];
  const spec = declareOnPaper(path, arch, metadata, {
    dim: dims,
    vocab,
    optionalTensors: variant.optionalTensors,
    shapes: variant.shapes?.(dims),
  });
  const tensors = paperTensors(spec, variant.tied ?? false, variant.optionalTensors).map((tensor) =>
    randomTensor(tensor, dtypes[tensor.role], options.seed ?? 1),
  );
  const spare = Object.entries(variant.spare?.(dims) ?? {}).map(([name, shape]): TensorSource => {
    const data = new Uint8Array(4 * shape.reduce((a, b) => a * b, 1));
    return { name, dtype: dtypeByName("F32")!, shape, data };
  });
  await writeGguf(path, { metadata, tensors: [...tensors, ...spare] });
  return { path, vocab };
}

function roleTypes(dtype: string | Partial<Record<Role, string>>): Record<Role, Dtype> {
  const named = (role: Role): Dtype => {
    const name = typeof dtype === "string" ? dtype : (dtype[role] ?? "F32");
    const found = dtypeByName(name);
    if (found?.acts === undefined) throw new HundredweightError("OPTION_INVALID", `no tiny model in type '${name}'`);
    return found;
  };
  const f32 = dtypeByName("F32")!;
  return {
    norm: f32,
    router: f32,
    attention: named("attention"),
    ffn: named("ffn"),
    expert: named("expert"),
    embedding: named("embedding"),
    head: named("head"),
  };
}

function randomTensor(tensor: TensorDeclaration, type: Dtype, seed: number): TensorSource {
  const { name, shape, fill, ids } = tensor;
  if (ids !== undefined) return { name, dtype: idsType, shape, data: randomIds(ids, shape, seededWords(seed, name)) };
  const dtype = tensor.floor === "f32" ? dtypeByName("F32")! : type;
  const [cols, ...others] = shape as [number, ...number[]];
  const rows = others.reduce((a, b) => a * b, 1);
  const bytes = blocksBytes(dtype, cols);
  if (bytes === undefined)
    throw new HundredweightError("OPTION_INVALID", `'${name}' has rows of ${cols}, ${dtype.name} needs whole blocks`);
  const normals = new Float64Array(cols);
  const data = new Uint8Array(rows * bytes);
  const row = new Float32Array(cols);
  for (let r = 0; r < rows; r++) {
    fillNormals(seed, name, normals, r * cols);
    for (let i = 0; i < cols; i++) row[i] = randomValue(fill, normals[i]!);
    quantizeRow(dtype, row, data.subarray(r * bytes, (r + 1) * bytes));
  }
  return { name, dtype, shape, data };
}
