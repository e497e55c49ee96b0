/**
 * A folder's model as plain matrices in one safetensors file, under the folder's own names, with what else the folder
 * holds beside it: config.json without its quantization, tokenizer, templates.
 */
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, realpathSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { type FolderModule, readFolderModel } from "../containers/index.js";
import { HundredweightError } from "../errors.js";
import { dtypeByName } from "../formats/dtypes.js";
import type { Checkpoint, TensorInfo } from "../formats/types.js";
import type { ModelDescription } from "../models/index.js";
import { replaceFileSync } from "../replace-file.js";
import { matrixBytes, turnedBytesOf } from "./encode-rows.js";
import { MatrixChange } from "./merged-pairs.js";
import type { PlannedTensor } from "./planned.js";
import type { FilePiece, ResumableFile } from "./resumable-file.js";
import { type Sources, storedPieces } from "./stored-matrix.js";
import type { ChosenType, TypeChoice } from "./type-choice.js";

/** A tensor of the file. */
export interface FolderTensor extends PlannedTensor {
  /** By the names of safetensors. */
  readonly stored: string;
  readonly cellBytes: number;
  readonly bytes: number;
  /** Made at once with others of this name, so it lies beside them; a multiple of four bytes. */
  readonly together?: string;
  /** Part of a quantized matrix. */
  readonly part?: true;
  readonly data: () => Iterable<Uint8Array>;
}

/** Makes other tensors of some matrices. */
export interface MatrixWriter {
  /** `quantization_config` of config.json. */
  readonly quantization: Readonly<Record<string, unknown>>;
  /** The tensors of a matrix; undefined: it stays as it is. */
  readonly write: (name: string, module: FolderModule, info: TensorInfo) => FolderTensor[] | undefined;
  /** The same for a module's bias. */
  readonly bias?: (name: string, module: FolderModule, info: TensorInfo) => FolderTensor | undefined;
}

const floats = new Set(["F32", "F16", "BF16"]);

/** @throws FORMAT_UNSUPPORTED for a source that is no folder, and what folders keep in no plain form; OPTION_INVALID */
export function safetensorsFile(
  path: string,
  checkpoint: Checkpoint,
  _description: ModelDescription | undefined,
  choice: TypeChoice,
  files: Sources,
  writer?: MatrixWriter,
): {
  readonly file: Omit<ResumableFile, "identity">;
  readonly model: { readonly tensors: readonly PlannedTensor[]; readonly leftOut: readonly string[] };
} {
  const model = readFolderModel(checkpoint.path);
  if (model === undefined)
    throw unsupported(`${checkpoint.path}: is no folder of Hugging Face, which \`convert\` makes of a GGUF file`);
  const adapted = new Set([...files.changes].filter(([, { derived }]) => !derived).map(([name]) => name));
  const tensors = model.modules.flatMap((module) => [...tensorsOf(module, choice, files, adapted, writer)]);
  const [left] = adapted;
  if (left !== undefined) throw unsupported(`'${left}' is adapted, and lies in the folder in a form that takes none`);
  const { file } = folderFile(path, tensors);
  writeBeside(path, { ...model, files: copiedFiles(model.folder) }, tensors, writer?.quantization);
  return { file, model: { tensors, leftOut: [] } };
}

/** The file that holds these tensors, and their order there. */
export function folderFile(
  path: string,
  tensors: readonly FolderTensor[],
): { readonly file: Omit<ResumableFile, "identity">; readonly ordered: readonly FolderTensor[] } {
  // Wide cells first, so that each tensor begins at a multiple of its cells; the order of the library's own writer.
  // What is made together lies together, before the other cells of four bytes.
  const rank = ({ together, cellBytes }: FolderTensor) => (together === undefined ? cellBytes : 5);
  const ordered = tensors.toSorted(
    (a, b) =>
      rank(b) - rank(a) || (a.together !== undefined && b.together !== undefined ? 0 : a.name < b.name ? -1 : 1),
  );
  return { file: { path, head: headOf(ordered), pieces: ordered.map(pieceOf) }, ordered };
}

function* tensorsOf(
  module: FolderModule,
  choice: TypeChoice,
  files: Sources,
  adapted: Set<string>,
  writer: MatrixWriter | undefined,
): Generator<FolderTensor> {
  const { name, parts, weight } = module;
  const plain = parts.get("weight") ?? parts.get("");
  const quantized = weight !== undefined && !floats.has(weight.layout.name);
  for (const [part, tensor] of parts) {
    const full = part === "" ? name : `${name}.${part}`;
    if (quantized && part !== "bias") continue;
    if (weight !== undefined && tensor === plain) {
      const made = writer?.write(full, module, { name: full, ...weight });
      if (made !== undefined) {
        yield* made;
        continue;
      }
      yield matrixOf(full, module, choice, files, adapted);
      continue;
    }
    const layout = dtypeByName(tensor.dtype);
    const shape = tensor.turned ? tensor.shape.toReversed() : tensor.shape;
    const cells = shape.reduce((product, size) => product * size, 1);
    const extent = { file: tensor.file, offset: tensor.offset, bytes: tensor.bytes };
    const inner = shape.at(-1) ?? 1;
    const dims = [inner, inner === 0 ? 0 : cells / inner];
    const info = { name: full, layout: layout ?? dtypeByName("F32")!, shape: dims, planes: { blocks: [extent] } };
    const bias = part === "bias" && shape.length === 1 ? writer?.bias?.(full, module, { ...info, shape }) : undefined;
    if (bias !== undefined) {
      yield bias;
      continue;
    }
    const from = [{ name: full, layout: { name: tensor.dtype } }];
    const copied = { name: full, shape: shape.toReversed(), from, changes: [] };
    if (layout !== undefined && floats.has(tensor.dtype) && cells > 0 && tensor.turned !== true) {
      const { dtype, rounded } = floatType(choice, info);
      const bytes = cells * dtype.blockBytes;
      const data = () => matrixBytes(info, dtype, undefined, files);
      yield { ...copied, dtype, rounded, stored: dtype.name, cellBytes: dtype.blockBytes, bytes, data };
      continue;
    }
    if (tensor.turned) throw unsupported(`'${full}' is kept as the transpose of what it is`);
    const data = () => storedPieces(info, files);
    const cellBytes = cells === 0 ? 1 : tensor.bytes / cells;
    yield {
      ...copied,
      dtype: { name: tensor.dtype },
      rounded: false,
      stored: tensor.dtype,
      cellBytes,
      bytes: tensor.bytes,
      data,
    };
  }
  if (quantized) yield matrixOf(`${name}.weight`, module, choice, files, adapted);
}

/** A module's matrix, decoded where it was quantized, with what adapters add to it. */
function matrixOf(
  full: string,
  module: FolderModule,
  choice: TypeChoice,
  files: Sources,
  adapted: Set<string>,
): FolderTensor {
  const weight = module.weight!;
  const plain = module.parts.get("weight") ?? module.parts.get("");
  const quantized = !floats.has(weight.layout.name);
  if (quantized && weight.shape.length > 2) throw unsupported(`'${full}' holds quantized experts in one tensor`);
  const { turned, ...rest } = weight;
  const own = quantized || plain === undefined ? weight.shape.toReversed() : plain.shape;
  const shape = turned ? own.toReversed() : own;
  const info: TensorInfo = { name: full, ...rest, ...(module.transposed && { transposed: true as const }) };
  const change = changeOf(module, files, own, adapted);
  if (change !== undefined) files.changes.set(full, change);
  const { dtype, rounded } = change !== undefined ? choice.changed(info) : floatType(choice, info);
  const cells = shape.reduce((product, size) => product * size, 1);
  const done = [...(quantized ? ["decoded"] : []), ...(change === undefined ? [] : ["merged"])];
  const data = () => (turned ? turnedBytesOf(info, dtype, files) : matrixBytes(info, dtype, undefined, files));
  return {
    name: full,
    dtype,
    shape: shape.toReversed(),
    from: [{ name: full, layout: weight.layout }],
    changes: done,
    rounded: dtype.name !== "F32" && (rounded || (quantized && weight.layout.folded === undefined)),
    stored: dtype.name,
    cellBytes: dtype.blockBytes,
    bytes: cells * dtype.blockBytes,
    data,
  };
}

/** The change of a module by adapters: to all of it, or to the parts that a GGUF file has of it. */
function changeOf(
  { place }: FolderModule,
  files: Sources,
  shape: readonly number[],
  adapted: Set<string>,
): MatrixChange | undefined {
  if (place === undefined) return undefined;
  const take = (to: string): MatrixChange | undefined => {
    const name = `${place.before}${to}${to.endsWith(".weight") ? "" : ".weight"}`;
    adapted.delete(name);
    return files.changes.get(name);
  };
  if (typeof place.to === "string") {
    const found = take(place.to);
    return place.expert === undefined ? found : found?.part(place.expert * shape[0]!, shape[0]!);
  }
  if (place.expert !== undefined) return undefined;
  const made = new MatrixChange();
  let some = false;
  for (const [to, runs] of Object.entries(place.to(place.transposed === true ? shape.at(-1)! : shape[0]!))) {
    const part = take(to);
    some ||= part !== undefined;
    part?.placed(runs, made);
  }
  return some ? made : undefined;
}

/** @throws OPTION_INVALID for a type that is none of floats, FORMAT_UNSUPPORTED for quantized matrices under `keep` */
export function floatType(choice: TypeChoice, info: TensorInfo): ChosenType {
  const held = info.layout.folded?.values ?? info.layout.name;
  const found = choice.of(info, () => (floats.has(held) ? dtypeByName(held) : undefined));
  if (floats.has(found.dtype.name)) return found;
  throw new HundredweightError("OPTION_INVALID", "matrices in a safetensors file are f32, f16 or bf16");
}

function headOf(tensors: readonly FolderTensor[]): Uint8Array {
  const header: Record<string, unknown> = { __metadata__: { format: "pt" } };
  let at = 0;
  for (const { name, stored, shape, bytes } of tensors) {
    header[name] = { dtype: stored, shape: shape.toReversed(), data_offsets: [at, at + bytes] };
    at += bytes;
  }
  const text = Buffer.from(JSON.stringify(header));
  const head = Buffer.alloc(8 + Math.ceil(text.length / 8) * 8, 0x20);
  head.writeBigUInt64LE(BigInt(head.length - 8));
  text.copy(head, 8);
  return head;
}

const pieceOf = ({ name, bytes, data }: FolderTensor): FilePiece => ({ name, bytes, padding: 0, data });

/** Names of files that programs read beside the weights. */
const besides = new RegExp(
  "^(tokenizer.*\\.json|tokenizer\\.model|special_tokens_map\\.json|added_tokens\\.json|" +
    "generation_config\\.json|vocab\\.(json|txt)|merges\\.txt|chat_template\\.(jinja|json)|modules\\.json)$",
);

/** Python tells 6 from 6.0, and refuses the first where it wants a float. */
const floatKeys =
  "llm_int8_threshold|\\w+_softcapping|logit_scale|logits_scaling|\\w+_multiplier|routed_scaling_factor|rope_theta|" +
  "\\w*factor|rope_local_base_freq|\\w+_eps|mscale\\w*|beta_fast|beta_slow|alpha";
const wholeFloats = new RegExp(`("(?:${floatKeys})": -?\\d+)(?=[,\\n])`, "g");

/** The other files of a folder. */
export interface BesideWeights {
  /** The folder that it comes from; undefined: no folder. */
  readonly folder?: string;
  readonly config: object;
  /** Names of the other files, and what writes each. */
  readonly files: ReadonlyMap<string, (to: string) => void>;
}

function copiedFiles(folder: string): BesideWeights["files"] {
  const names = readdirSync(folder).filter((name) => besides.test(name));
  return new Map(names.map((name) => [name, (to) => copyFileSync(join(folder, name), to)]));
}

/**
 * Writes config.json and the other files.
 * @throws OPTION_INVALID where the folder holds another model
 */
export function writeBeside(
  path: string,
  { folder, config, files }: BesideWeights,
  tensors: readonly FolderTensor[],
  quantization?: Readonly<Record<string, unknown>>,
): void {
  const to = dirname(path);
  mkdirSync(to, { recursive: true });
  if (folder !== undefined && realpathSync(to) === realpathSync(folder))
    throw new HundredweightError(
      "OPTION_INVALID",
      `${path}: the folder of the model itself; name a file in another one`,
    );
  const said = { ...plainConfig(config, tensors), ...(quantization && { quantization_config: quantization }) };
  const text = `${JSON.stringify(said, null, 2).replace(wholeFloats, "$1.0")}\n`;
  const target = join(to, "config.json");
  if (existsSync(target) && readFileSync(target, "utf8") !== text)
    throw new HundredweightError(
      "OPTION_INVALID",
      `${target}: belongs to another model; name a file in another folder`,
    );
  writeFileSync(`${target}.partial`, text);
  replaceFileSync(`${target}.partial`, target);
  for (const [name, write] of files) write(join(to, name));
}

/** Names of PyTorch for what matrices are in. */
export const torchNames: Readonly<Record<string, string>> = { F32: "float32", F16: "float16", BF16: "bfloat16" };

/** Without quantization, and of the type that most of the bytes have. */
function plainConfig(config: object, tensors: readonly FolderTensor[]): Record<string, unknown> {
  const sums = new Map<string, number>();
  for (const { stored, bytes, part } of tensors)
    if (floats.has(stored) && part !== true) sums.set(stored, (sums.get(stored) ?? 0) + bytes);
  const [type] = [...sums].sort(([, a], [, b]) => b - a)[0] ?? ["F32"];
  const { quantization_config: _, compression_config: __, ...rest } = config as Record<string, unknown>;
  const key = "torch_dtype" in rest ? "torch_dtype" : "dtype";
  return { ...rest, [key]: torchNames[type] };
}

function unsupported(what: string): HundredweightError {
  return new HundredweightError("FORMAT_UNSUPPORTED", what);
}
