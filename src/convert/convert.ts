/** A model in one container becomes the same model in another, in little memory whatever its size. */
import { realpathSync } from "node:fs";
import { resolve } from "node:path";
import { openAdapter, openCheckpoint } from "../containers/index.js";
import { HundredweightError } from "../errors.js";
import type { Checkpoint } from "../formats/types.js";
import { describeModel } from "../models/index.js";
import { aprModelFile } from "./apr-file.js";
import { ggufFile } from "./gguf-file.js";
import { ggufFolder } from "./gguf-folder.js";
import { type MergedAdapter, mergedPairs } from "./merged-pairs.js";
import { fileIdentity, type PlannedTensor, sourceIdentity } from "./planned.js";
import { type WriteOptions, type Written, writeResumable } from "./resumable-file.js";
import { safetensorsFile } from "./safetensors-file.js";
import { Sources } from "./stored-matrix.js";
import { typeChoice, type WishedType } from "./type-choice.js";

export interface ConvertOptions extends WriteOptions {
  /** The type of matrices; default `keep`. Norms, biases and routers are F32. */
  readonly type?: WishedType;
  /** The type of matrices that no type holds exactly; without it they are refused. */
  readonly inexact?: Exclude<WishedType, "keep">;
  /** Adapters that become part of the matrices, which are F32, F16 or BF16 then. */
  readonly merge?: readonly { readonly path: string; readonly scale?: number }[];
  readonly onPlan?: (plan: ConvertPlan) => void;
}

/** The conversion as it is said before anything is written. */
export interface ConvertPlan {
  readonly architecture: string;
  readonly tensors: readonly PlannedTensor[];
  /** Tensors of the source that the model does not use. */
  readonly leftOut: readonly string[];
  /** Sentences on what the result lacks. */
  readonly notes?: readonly string[];
  readonly bytes: number;
}

export interface Converted extends Written {
  readonly path: string;
}

/**
 * Writes `to` whole or not at all; a run that was killed goes on where it was when it is started again.
 * @param from whatever can be opened as a model
 * @param to a name that ends in `.gguf`, `.apr` or `.safetensors`; beside the last, what else a folder holds is put
 * @throws what opening and describing the model throws; OPTION_INVALID; FORMAT_UNSUPPORTED where values would be
 *   rounded and nobody has said they may; FILE_IO, FILE_NOT_REGULAR, CANCELLED
 */
export async function convertModel(from: string, to: string, options: ConvertOptions = {}): Promise<Converted> {
  const kind = /\.(gguf|apr|safetensors)$/i.exec(to)?.[1]?.toLowerCase();
  if (kind === undefined)
    throw new HundredweightError("OPTION_INVALID", `${to}: the name of the result ends in .gguf, .apr or .safetensors`);
  const checkpoint = await openCheckpoint(from);
  refuseSelf(checkpoint, to);
  const description = describeModel(checkpoint, undefined, { readOnly: true });
  const adapters = (options.merge ?? []).map(({ path, scale = 1 }) => ({
    adapter: openAdapter(path, checkpoint),
    scale,
  }));
  const files = new Sources(mergedPairs(description, adapters));
  try {
    const choice = typeChoice(options.type ?? "keep", options.inexact, kind === "safetensors" ? "safetensors" : "GGUF");
    const folder = checkpoint.format === "gguf" ? ggufFolder : safetensorsFile;
    const make = kind === "apr" ? aprModelFile : kind === "gguf" ? ggufFile : folder;
    const { file, model } = make(to, checkpoint, description, choice, files);
    const bytes = file.pieces.reduce((sum, piece) => sum + piece.bytes + piece.padding, file.head.length);
    options.onPlan?.({ architecture: description.arch, ...model, bytes });
    const identity = JSON.stringify([
      sourceIdentity(checkpoint),
      options.type ?? "keep",
      options.inexact,
      ...adapters.map(adapterIdentity),
    ]);
    return { path: to, ...(await writeResumable({ ...file, identity }, options)) };
  } finally {
    files.close();
  }
}

function adapterIdentity({ adapter, scale }: MergedAdapter): unknown[] {
  const files = new Set(
    [...adapter.pairs.values()].flatMap(({ a, b }) => [...a.extents, ...b.extents]).map(({ file }) => file),
  );
  return [scale, ...[...files].map(fileIdentity)];
}

/** @throws OPTION_INVALID where the result would replace what is read */
function refuseSelf({ files }: Checkpoint, to: string): void {
  const real = (path: string): string => {
    try {
      return realpathSync(path);
    } catch {
      return resolve(path);
    }
  };
  if (files.some(({ path }) => real(path) === real(to)))
    throw new HundredweightError("OPTION_INVALID", `${to}: is the model that is to be converted`);
}
