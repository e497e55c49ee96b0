/**
 * A GGUF file's model as a Hugging Face folder. Names, orders and changes of values are those by which folders are
 * opened, gone through from the folder's side; what comes out is described again before a byte is written.
 */
import { placesOf, type StoredTensor, writtenModel } from "../containers/index.js";
import { HundredweightError } from "../errors.js";
import { dtypeOf } from "../formats/dtypes.js";
import { sliceExtents } from "../formats/layouts.js";
import type { Checkpoint, TensorInfo, VectorChange } from "../formats/types.js";
import { describeModel, type ModelDescription } from "../models/index.js";
import { encodeRow, matrixBytes, vectorBytes } from "./encode-rows.js";
import { computedVectors, folderConfig } from "./gguf-folder-config.js";
import { FolderKeys } from "./gguf-folder-keys.js";
import { type FolderKind, folderKindOf, folderKinds } from "./gguf-folder-kinds.js";
import { folderTokenizer } from "./gguf-folder-tokenizer.js";
import type { PlannedTensor } from "./planned.js";
import type { ResumableFile } from "./resumable-file.js";
import { type Rotated, rotatedRows } from "./rotated-rows.js";
import { type FolderTensor, floatType, folderFile, writeBeside } from "./safetensors-file.js";
import { firstDifference } from "./same-program.js";
import type { Sources } from "./stored-matrix.js";
import type { TypeChoice } from "./type-choice.js";
import { usedTensors } from "./used-tensors.js";

/** A tensor of the folder, and the one of the file that it is made of. */
interface Source {
  readonly name: string;
  readonly info: TensorInfo;
  readonly change: VectorChange | undefined;
  /** The folder has a vector as a matrix of one row. */
  readonly row: boolean;
}

/** @throws FORMAT_UNSUPPORTED for what no folder of this kind can say, naming it; OPTION_INVALID */
export function ggufFolder(
  path: string,
  checkpoint: Checkpoint,
  description: ModelDescription,
  choice: TypeChoice,
  files: Sources,
): {
  readonly file: Omit<ResumableFile, "identity">;
  readonly model: {
    readonly tensors: readonly PlannedTensor[];
    readonly leftOut: readonly string[];
    readonly notes: readonly string[];
  };
} {
  const keys = new FolderKeys(checkpoint, description);
  const kind = folderKindOf(description.arch, keys);
  if (kind === undefined)
    throw unsupported(
      `${checkpoint.path}: '${description.arch}' is not written as a folder; what is: ${folderKinds.join(", ")}`,
    );
  const config = folderConfig(checkpoint, kind, keys, files);
  const taken = new Set<string>();
  const sources = [...sourcesOf(checkpoint, kind, keys, config, taken)];
  const used = usedTensors(checkpoint, description).map(({ info }) => info.name);
  const left = used.find((name) => !taken.has(name) && !computedVectors.test(name));
  if (left !== undefined) throw unsupported(`'${left}' has no name in a folder of '${kind.type}'`);
  const adapted = new Set([...files.changes].filter(([, { derived }]) => !derived).map(([name]) => name));
  const rotated = rotatedRows(checkpoint, description, "folder");
  const tensors = sources.map((source) => tensorOf(source, rotated.get(source.info.name), choice, files, adapted));
  const { file, ordered } = folderFile(path, tensors);
  checkWritten(path, config, ordered, description);
  const tokenizer = folderTokenizer(checkpoint.metadata);
  writeBeside(path, { config, ...tokenizer }, tensors);
  const leftOut = [...checkpoint.tensors.keys()].filter((name) => !taken.has(name) && !computedVectors.test(name));
  return { file, model: { tensors, leftOut, notes: tokenizer.notes } };
}

const modelModules = ["model.embed_tokens", "model.norm", "lm_head"];

function* sourcesOf(
  { tensors }: Checkpoint,
  kind: FolderKind,
  keys: FolderKeys,
  config: Readonly<Record<string, unknown>>,
  taken: Set<string>,
): Generator<Source> {
  const place = placesOf(config);
  const blocks = keys.layers + (keys.number("nextn_predict_layers") ?? 0);
  const modules = [...(kind.model ?? modelModules)];
  for (let i = 0; i < blocks; i++) modules.push(...kind.layer.map((name) => `model.layers.${i}.${name}`));
  for (const module of modules) {
    const stack = module.includes(".E.");
    const found = place(stack ? module.replace(".E.", ".0.") : module);
    if (found === undefined || typeof found.to !== "string")
      throw new HundredweightError("INTERNAL", `no table has one name for '${module}'`);
    const { before, to, change } = found;
    const bare = /\.(weight|bias)$/.test(to);
    for (const part of bare ? [""] : [".weight", ".bias"]) {
      const info = tensors.get(`${before}${to}${part}`);
      if (info === undefined) continue;
      if (part === ".bias" && !kind.biased?.test(module))
        throw unsupported(`'${info.name}' has no place in a model of '${kind.type}'`);
      taken.add(info.name);
      const row = kind.rows?.test(module) === true && info.shape.length === 1;
      if (!stack) yield { name: `${module}${part}`, info, change: part === ".bias" ? undefined : change, row };
      else yield* expertsOf(module, part, info);
    }
  }
}

/** Each matrix of a stack as a tensor of its own. */
function* expertsOf(module: string, part: string, info: TensorInfo): Generator<Source> {
  const vector = info.shape.length === 2;
  const [cols = 1, rows = 1] = vector ? [info.shape[0], 1] : info.shape;
  for (let expert = 0; expert < info.shape.at(-1)!; expert++) {
    const extents = sliceExtents({ ...info, rows, cols }, expert, 0, rows);
    const planes = Object.fromEntries(info.layout.planes.map(({ name }, i) => [name, [extents[i]!]]));
    const own = { ...info, name: `${info.name}[${expert}]`, shape: vector ? [cols] : [cols, rows], planes };
    yield { name: `${module.replace(".E.", `.${expert}.`)}${part}`, info: own, change: undefined, row: false };
  }
}

function tensorOf(
  { name, info, change, row }: Source,
  rotated: Rotated | undefined,
  choice: TypeChoice,
  files: Sources,
  adapted: Set<string>,
): FolderTensor {
  const [, stack, expert] = /^(.+)\[(\d+)\]$/.exec(info.name) ?? [];
  const merged = files.changes.get(stack ?? info.name);
  adapted.delete(stack ?? info.name);
  if (merged !== undefined && stack !== undefined)
    files.changes.set(info.name, merged.part(Number(expert) * info.shape[1]!, info.shape[1]!));
  const chosen = merged !== undefined ? choice.changed(info) : floatType(choice, info);
  const { dtype } = chosen;
  // F32 holds the value of every block.
  const rounded = chosen.rounded && dtype.name !== "F32";
  const shape = row ? [...info.shape, 1] : info.shape;
  const changes = [
    ...((dtypeOf(info.layout)?.blockValues ?? 1) > 1 ? ["decoded"] : []),
    ...(merged === undefined ? [] : ["merged"]),
    ...(rotated === undefined ? [] : ["pairs apart"]),
    ...(change === undefined ? [] : [change === "plus one" ? "less one" : "logarithm"]),
  ];
  const vector = info.shape.length === 1;
  const cells = info.shape.reduce((product, size) => product * size, 1);
  return {
    name,
    dtype,
    shape,
    from: [{ name: info.name, layout: info.layout }],
    changes,
    rounded,
    stored: dtype.name,
    cellBytes: dtype.blockBytes,
    bytes: cells * dtype.blockBytes,
    data: vector
      ? function* () {
          const bytes = vectorBytes(info, rotated, files);
          const values = unchanged(new Float32Array(bytes.buffer, bytes.byteOffset, cells), change);
          const out = new Uint8Array(cells * dtype.blockBytes);
          encodeRow(info.name, dtype, values, out);
          yield out;
        }
      : () => matrixBytes(info, dtype, rotated, files),
  };
}

/** The values that a change makes these of. */
function unchanged(values: Float32Array, change: VectorChange | undefined): Float32Array {
  if (change === "plus one") return values.map((value) => value - 1);
  if (change === "minus exp") return values.map((value) => Math.log(-value));
  return values;
}

/**
 * Reads the folder as it will be, and compares what it says with what the file says.
 * @throws FORMAT_UNSUPPORTED naming the first difference
 */
function checkWritten(
  path: string,
  config: Readonly<Record<string, unknown>>,
  tensors: readonly FolderTensor[],
  description: ModelDescription,
): void {
  const stored = new Map<string, StoredTensor>();
  let offset = 0;
  for (const { name, stored: dtype, shape, bytes } of tensors) {
    stored.set(name, { name, dtype, shape: shape.toReversed(), file: path, offset, bytes });
    offset += bytes;
  }
  const written = describeModel(writtenModel(path, config, stored), undefined, { readOnly: true });
  const difference = firstDifference(description, written);
  if (difference === undefined) return;
  throw unsupported(
    `${path}: config.json of '${String(config.model_type)}' cannot say what the GGUF file says: ${difference}`,
  );
}

function unsupported(what: string): HundredweightError {
  return new HundredweightError("FORMAT_UNSUPPORTED", what);
}
