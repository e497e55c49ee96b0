/**
 * `quantize IN OUT --method nf4`: a folder whose layers' matrices are quantized in another library's form, as that
 * library saves it. Embeddings, norms, biases, routers and the head stay as they are.
 */
import { join } from "node:path";
import { type FolderModule, openCheckpoint } from "../containers/index.js";
import { dtypeOf } from "../formats/dtypes.js";
import type { Checkpoint, TensorInfo } from "../formats/types.js";
import { type AwqOptions, awqMethod } from "./awq-folder.js";
import type { BookOptions } from "./bitsandbytes.js";
import { bookQuantization, bookTensors } from "./book-folder.js";
import { type FolderMethod, folderUnsupported, linearMatrices, namesOf, partsOf } from "./folder-method.js";
import { type GptqOptions, gptqMethod } from "./gptq-folder.js";
import { type Int8Options, int8Method } from "./int8-folder.js";
import { sourceIdentity } from "./planned.js";
import { type WriteOptions, type Written, writeResumable } from "./resumable-file.js";
import { type FolderTensor, type MatrixWriter, safetensorsFile, torchNames } from "./safetensors-file.js";
import { Sources } from "./stored-matrix.js";
import { typeChoice } from "./type-choice.js";

export type FolderQuantization = BookOptions | GptqOptions | AwqOptions | Int8Options;

export interface QuantizedFolder extends Written {
  readonly folder: string;
  /** Matrices that were quantized. */
  readonly matrices: number;
}

/**
 * @param from a folder of plain matrices @param to the folder to make
 * @throws what opening a model throws; FORMAT_UNSUPPORTED for matrices that are quantized already, lie the other way
 *   round, or have a shape that the form does not take; OPTION_INVALID, FILE_IO, CANCELLED
 */
export async function quantizeFolder(
  from: string,
  to: string,
  options: FolderQuantization & WriteOptions & Pick<GptqOptions, "onMatrix">,
): Promise<QuantizedFolder> {
  const checkpoint = await openCheckpoint(from);
  const files = new Sources();
  const method = methodOf(checkpoint, options, files);
  const linear = method.experts ? linearMatrices(checkpoint) : undefined;
  let matrices = 0;
  const writer: MatrixWriter = {
    quantization: method.quantization,
    write: (full, module, info) => {
      if (info.shape.length === 1) return vectorOf(full, module, "weight", info, method);
      const names = namesOf(module, info.shape[1] ?? 1);
      if (!isMatrix(full, module, info, method, linear, names)) return undefined;
      matrices++;
      return method.tensors({
        module: full.replace(/\.weight$/, ""),
        info,
        names,
        parts: partsOf(module, info.shape[1] ?? 1),
        expert: module.place?.expert,
      });
    },
    bias: (full, module, info) => vectorOf(full, module, "bias", info, method)?.[0],
  };
  try {
    const path = join(to, "model.safetensors");
    const { file } = safetensorsFile(path, checkpoint, undefined, typeChoice("keep", undefined), files, writer);
    const identity = JSON.stringify([sourceIdentity(checkpoint), method.identity]);
    return { folder: to, matrices, ...(await writeResumable({ ...file, identity }, options)) };
  } finally {
    files.close();
  }
}

/** A vector that a method changes. @param info of one dimension */
function vectorOf(
  full: string,
  module: FolderModule,
  ending: "weight" | "bias",
  info: TensorInfo,
  { vector }: FolderMethod,
): FolderTensor[] | undefined {
  const change = ending === "weight" ? module.place?.change : undefined;
  const [length] = info.shape as [number];
  const data = vector?.([...partsOf(module, length, ending).keys()], { ...info, ...(change && { change }) });
  if (data === undefined) return undefined;
  const dtype = dtypeOf(info.layout)!;
  return [
    {
      name: full,
      dtype,
      stored: dtype.name,
      cellBytes: dtype.blockBytes,
      bytes: length * dtype.blockBytes,
      shape: [length],
      from: [{ name: full, layout: info.layout }],
      changes: ["divided"],
      rounded: true,
      data: () => [data()],
    },
  ];
}

function methodOf(checkpoint: Checkpoint, options: FolderQuantization, files: Sources): FolderMethod {
  if ("codes" in options)
    return {
      quantization: bookQuantization(options),
      identity: [options.codes, options.double],
      experts: false,
      tensors: ({ module, info }) => bookTensors(`${module}.weight`, info, options, files),
    };
  if (options.method === "gptq") return gptqMethod(checkpoint, options, files);
  return options.method === "awq" ? awqMethod(checkpoint, options, files) : int8Method(options, files);
}

/** @throws FORMAT_UNSUPPORTED for a matrix that ought to be quantized and cannot be */
function isMatrix(
  full: string,
  { place, transposed }: FolderModule,
  info: TensorInfo,
  method: FolderMethod,
  linear: ReadonlySet<string> | undefined,
  names: readonly string[],
): boolean {
  if (place === undefined || !place.before.startsWith("blk.")) return false;
  const own = place.expert !== undefined && info.shape.length === 2;
  if (linear !== undefined && !names.some((name) => linear.has(name))) return false;
  if (linear === undefined && info.shape.length !== 2) return false;
  if ((place.expert !== undefined || /\bexperts\b/.test(full)) && !(method.experts && own))
    throw folderUnsupported(full, "an expert");
  if (transposed) throw folderUnsupported(full, "kept as the transpose of a linear layer");
  if (!Object.hasOwn(torchNames, info.layout.name)) throw folderUnsupported(full, `of ${info.layout.name} already`);
  return true;
}
