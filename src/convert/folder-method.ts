/** A way of quantizing the matrices of a folder, and which matrices there are. */
import type { FolderModule, Rows } from "../containers/index.js";
import { HundredweightError } from "../errors.js";
import type { Checkpoint, TensorInfo } from "../formats/types.js";
import { describeModel } from "../models/index.js";
import type { FolderTensor } from "./safetensors-file.js";

export interface FolderMethod {
  /** `quantization_config` of config.json. */
  readonly quantization: Readonly<Record<string, unknown>>;
  /** All that the bytes follow from beside the source. */
  readonly identity: unknown;
  /** Whether experts that are modules of their own may be quantized. */
  readonly experts: boolean;
  /** @param names that GGUF has for what lies in the module */
  readonly tensors: (matrix: FolderMatrix) => FolderTensor[];
  /** Other bytes for a vector, under the names that GGUF has for it; undefined: it stays. */
  readonly vector?: (names: readonly string[], info: TensorInfo) => (() => Uint8Array) | undefined;
}

export interface FolderMatrix {
  /** The module's name in the folder, without `.weight`. */
  readonly module: string;
  /** A matrix of floats. */
  readonly info: TensorInfo;
  /** The names under which moments know it. */
  readonly names: readonly string[];
  /** GGUF's names for what lies in it, and the rows of each. */
  readonly parts: ReadonlyMap<string, Rows>;
  /** Its number in a stack of experts. */
  readonly expert: number | undefined;
}

/** GGUF's names for what lies in a module, and the rows of each; empty for those that no table knows. */
export function partsOf({ place }: FolderModule, rows: number, ending = "weight"): Map<string, Rows> {
  if (place === undefined) return new Map();
  const runs: Readonly<Record<string, Rows>> =
    typeof place.to === "string" ? { [place.to]: [[0, rows]] } : place.to(rows);
  return new Map(Object.entries(runs).map(([name, own]) => [`${place.before}${name}.${ending}`, own]));
}

/** Those names, and the one that a GGUF file has where it keeps the parts as one. */
export function namesOf(module: FolderModule, rows: number): string[] {
  const joined = module.place?.joined;
  return [
    ...partsOf(module, rows).keys(),
    ...(joined === undefined ? [] : [`${module.place!.before}${joined}.weight`]),
  ];
}

/** Routers choose experts: a rounding there chooses others. */
const router = /\.ffn_gate_inp(_shexp)?\.weight$/;

/** Matrices of the layers that activations are multiplied with, routers apart. */
export function linearMatrices(checkpoint: Checkpoint): ReadonlySet<string> {
  const names = new Set<string>();
  const add = (weight: { readonly tensor: { readonly name: string } } | null): void => {
    if (weight?.tensor.name.startsWith("blk.") && !router.test(weight.tensor.name)) names.add(weight.tensor.name);
  };
  for (const call of describeModel(checkpoint).program.calls) {
    if (call.hint) continue;
    if (call.verb === "linear") for (const weight of call.weights) add(weight);
    if (call.verb === "experts") for (const weight of [call.body.gate, call.body.up, call.body.down]) add(weight);
  }
  return names;
}

export function folderUnsupported(name: string, what: string): HundredweightError {
  return new HundredweightError("FORMAT_UNSUPPORTED", `'${name}' is ${what}, which is not quantized to a folder`);
}
