/** The tensors that a GGUF file of a model has: which of the source become what, and how their bytes come. */
import { HundredweightError } from "../errors.js";
import { type Dtype, dtypeByName, dtypeOf } from "../formats/dtypes.js";
import { type Extent, expertPlaneBytes, slicesOf } from "../formats/layouts.js";
import type { Checkpoint, TensorInfo } from "../formats/types.js";
import type { ModelDescription } from "../models/index.js";
import { matrixBytes, rowBytesOf, turnedBytesOf, vectorBytes } from "./encode-rows.js";
import { exactType } from "./exact-types.js";
import { type Rotated, rotatedRows } from "./rotated-rows.js";
import { type Sources, StoredMatrix } from "./stored-matrix.js";
import type { TypeChoice } from "./type-choice.js";
import { usedTensors } from "./used-tensors.js";

/** A tensor that is to be written, and what is known of its making. */
export interface MadeTensor {
  readonly name: string;
  readonly dtype: Dtype;
  /** GGUF order. */
  readonly shape: readonly number[];
  /** Tensors of the source that it is made of. */
  readonly from: readonly TensorInfo[];
  /** The changes on the way, in words. */
  readonly changes: readonly string[];
  /** Its values are not all those of the source. */
  readonly rounded: boolean;
  readonly data: () => Iterable<Uint8Array>;
}

export interface MadeModel {
  readonly tensors: readonly MadeTensor[];
  /** Names of the source that are in nothing. */
  readonly leftOut: readonly string[];
}

/**
 * @param files reads the bytes when their turn comes
 * @throws MODEL_INVALID, FORMAT_UNSUPPORTED for values that no type of GGUF holds and whose loss nobody has allowed
 */
export function ggufTensors(
  checkpoint: Checkpoint,
  description: ModelDescription,
  choice: TypeChoice,
  files: Sources,
): MadeModel {
  const rotated = rotatedRows(checkpoint, description);
  const joined = new Map<string, TensorInfo[]>();
  for (const info of checkpoint.tensors.values())
    if (info.joined !== undefined) joined.set(info.joined, [...(joined.get(info.joined) ?? []), info]);
  const tensors: MadeTensor[] = [];
  const done = new Set<string>();
  for (const { info, vector, shape, of } of usedTensors(checkpoint, description)) {
    if (info.joined !== undefined) {
      if (done.has(info.joined)) continue;
      done.add(info.joined);
      tensors.push(joinedTensor(info.joined, joined.get(info.joined)!, vector, choice, files));
    } else if (/\battn_kv_b\.weight$/.test(info.name) && absorbs(checkpoint))
      tensors.push(...absorbed(checkpoint, info, choice, files));
    else if (of !== undefined) {
      const made = matrixTensor(info, undefined, choice, files);
      tensors.push({ ...made, from: of, changes: ["rows of it", ...made.changes] });
    } else if (vector) tensors.push(vectorTensor(info, shape, rotated.get(info.name), files));
    else tensors.push(matrixTensor(info, rotated.get(info.name), choice, files));
  }
  const used = new Set(tensors.flatMap(({ from }) => from.map(({ name }) => name)));
  return { tensors, leftOut: [...checkpoint.tensors.keys()].filter((name) => !used.has(name)) };
}

const f32 = dtypeByName("F32")!;

function vectorTensor(
  info: TensorInfo,
  shape: readonly number[],
  rotated: Rotated | undefined,
  files: Sources,
): MadeTensor {
  const changes = [
    ...(info.change === undefined ? [] : [info.change]),
    ...(rotated === undefined ? [] : ["pairs side by side"]),
    ...(info.values === undefined ? [] : ["computed"]),
  ];
  const data = () => [vectorBytes(info, rotated, files)];
  return { name: info.name, dtype: f32, shape, from: [info], changes, rounded: false, data };
}

function matrixTensor(info: TensorInfo, rotated: Rotated | undefined, choice: TypeChoice, files: Sources): MadeTensor {
  if (info.transposed) return turnedTensor(info.name, info, choice, files);
  const merged = files.changes.has(info.name);
  const { dtype, rounded } = merged
    ? choice.changed(info)
    : choice.of(info, () => exactType(new StoredMatrix(info, files)));
  const changes = [...(merged ? ["merged"] : []), ...(rotated === undefined ? [] : ["pairs side by side"])];
  const data = () => matrixBytes(info, dtype, rotated, files);
  return { name: info.name, dtype, shape: info.shape, from: [info], changes, rounded, data };
}

function turnedTensor(name: string, info: TensorInfo, choice: TypeChoice, files: Sources): MadeTensor {
  // Blocks run along inputs: those that lie the other way round are others.
  const plain = () => (dtypeOf(info.layout)?.blockValues === 1 ? dtypeOf(info.layout) : undefined);
  const merged = files.changes.has(info.name);
  const { dtype, rounded } = merged ? choice.changed(info) : choice.of(info, plain);
  const [outputs = 1, inputs = 1, ...rest] = info.shape;
  rowBytesOf(name, dtype, inputs);
  const data = () => turnedBytesOf(info, dtype, files);
  const shape = [inputs, outputs, ...rest];
  return { name, dtype, shape, from: [info], changes: [...(merged ? ["merged"] : []), "turned round"], rounded, data };
}

/** Parts that are one tensor of a GGUF file again: their rows, or values, one after the other. */
function joinedTensor(
  name: string,
  infos: readonly TensorInfo[],
  vector: boolean,
  choice: TypeChoice,
  files: Sources,
): MadeTensor {
  const parts = infos.map((info) =>
    vector ? vectorTensor(info, info.shape, undefined, files) : matrixTensor(info, undefined, choice, files),
  );
  const { dtype, shape } = parts[0]!;
  if (parts.some((part) => part.dtype !== dtype))
    throw new HundredweightError("FORMAT_UNSUPPORTED", `the parts of '${name}' are of several types; use --type`);
  const last = shape.length - 1;
  const length = parts.reduce((sum, part) => sum + part.shape[last]!, 0);
  function* data(): Generator<Uint8Array> {
    for (const part of parts) yield* part.data();
  }
  const rounded = parts.some((part) => part.rounded);
  const changes = [...new Set(parts.flatMap((part) => part.changes)), "joined"];
  return { name, dtype, shape: [...shape.slice(0, last), length], from: infos, changes, rounded, data };
}

/** Latent attention in the form that keeps only the latent vector: two matrices of each head instead of one. */
function absorbs({ metadata }: Checkpoint): boolean {
  return metadata.get(`${metadata.string("general.architecture")}.attention.key_length_mla`) !== undefined;
}

function absorbed(checkpoint: Checkpoint, info: TensorInfo, choice: TypeChoice, files: Sources): MadeTensor[] {
  if (files.changes.has(info.name))
    throw new HundredweightError("ADAPTER_UNSUPPORTED", `'${info.name}' is taken apart, which adapters are not`);
  const { metadata } = checkpoint;
  const number = (key: string) => metadata.number(`${metadata.string("general.architecture")}.${key}`)!;
  const values = number("attention.value_length_mla");
  const keys = number("attention.key_length_mla") - number("rope.dimension_count");
  const [rank, rows] = info.shape as [number, number];
  const heads = rows / (keys + values);
  const part = (first: number, count: number): TensorInfo => ({
    ...info,
    shape: [rank, count, heads],
    planes: headRows(info, heads, keys + values, first, count),
  });
  const name = (letter: string) => info.name.replace(/kv_b\.weight$/, `${letter}_b.weight`);
  const k = turnedTensor(name("k"), part(0, keys), choice, files);
  const v = matrixTensor({ ...part(keys, values), name: name("v") }, undefined, choice, files);
  return [
    { ...k, from: [info], changes: ["keys of each head", ...k.changes] },
    { ...v, from: [info], changes: ["values of each head"] },
  ];
}

/** The planes of rows [first, first + count) of each head, a stack of them. */
function headRows(
  info: TensorInfo,
  heads: number,
  each: number,
  first: number,
  count: number,
): Record<string, Extent[]> {
  const [cols, rows] = info.shape as [number, number];
  const slices = slicesOf(info.layout, rows, cols);
  const { step, planeBytes } = slices;
  if (info.layout.order === "inputs" || slices.wholeBytes > 0 || [each, first, count].some((n) => n % step !== 0))
    throw new HundredweightError(
      "FORMAT_UNSUPPORTED",
      `tensor '${info.name}' of ${info.layout.name} cannot be cut into heads`,
      { tensor: info.name },
    );
  const planes: Record<string, Extent[]> = {};
  for (const [i, { name }] of info.layout.planes.entries()) {
    const whole = info.planes[name]![0]!;
    if (whole.bytes !== expertPlaneBytes(slices, i))
      throw new HundredweightError("FORMAT_UNSUPPORTED", `tensor '${info.name}' lies in several parts`);
    planes[name] = Array.from({ length: heads }, (_, head) => ({
      file: whole.file,
      offset: whole.offset + ((head * each + first) / step) * planeBytes[i]!,
      bytes: (count / step) * planeBytes[i]!,
    }));
  }
  return planes;
}
