/**
 * Parameters of PEFT's `target_parameters`: matrices of all experts in one, which no module of their own multiplies
 * with. Their pairs bear the name of the module that holds them, one inside the other where there are several.
 * @source huggingface/peft, src/peft/tuners/lora/layer.py (ParamWrapper), src/peft/tuners/tuners_utils.py
 */
import type { AdapterPair, PairMatrix } from "../../formats/adapter.js";
import type { StoredTensor } from "../stored/stored.js";
import { invalid, unsupported } from "./gguf-adapter.js";
import type { PeftConfig } from "./peft-config.js";

/** The matrices of a pair as they were found. */
export interface Halves {
  a?: StoredTensor;
  b?: StoredTensor;
  embedding?: true;
  /** The name by which the configuration knows a parameter that has a pair of its own. */
  parameter?: string;
}

/** In the order in which modules have them, which is that of the wrappers from the inside out. */
const known = ["gate_up_proj", "gate_proj", "up_proj", "down_proj", "weight"];

/**
 * The modules with parameters under names of their own, `mlp.experts.down_proj`.
 * @throws ADAPTER_INVALID where a module has more or fewer pairs than parameters
 */
export function withParameters(
  path: string,
  modules: ReadonlyMap<string, Halves>,
  { parameters }: PeftConfig,
): Map<string, Halves> {
  const found = new Map<string, Halves>();
  const depths = new Map<string, number>();
  for (const [name, halves] of modules) {
    const root = name.replace(/(\.base_layer)+$/, "");
    const own = known
      .map((parameter) => `${root}.${parameter}`)
      .filter((full) => parameters.some((end) => full === end || full.endsWith(`.${end}`)));
    const depth = (name.length - root.length) / ".base_layer".length;
    const parameter = own[own.length - 1 - depth];
    if (parameter === undefined) {
      found.set(name, halves);
      continue;
    }
    depths.set(root, (depths.get(root) ?? own.length) - 1);
    found.set(parameter.replace(/\.weight$/, ""), { ...halves, parameter });
  }
  for (const [root, missing] of depths)
    if (missing !== 0) throw invalid(path, `has no pair for ${missing} of the parameters of '${root}'`);
  return found;
}

/**
 * [rank * experts, inputs] as a matrix for each expert, [outputs, rank * experts] as one whose experts lie by turns.
 * @throws ADAPTER_INVALID, ADAPTER_UNSUPPORTED
 */
export function stackedPair(
  path: string,
  name: string,
  a: PairMatrix,
  b: PairMatrix,
  { rankOf, scaleOf, stacksInputsFirst }: PeftConfig,
): AdapterPair {
  const rank = rankOf(name);
  const experts = a.rows / rank;
  if (!Number.isInteger(experts) || experts < 1 || b.cols !== a.rows)
    throw invalid(path, `says that '${name}' has rank ${rank}, and the pair has ${a.rows} and ${b.cols}`);
  const scale = scaleOf(name, rank);
  if (experts === 1) return { a, b, scale };
  if (!stacksInputsFirst)
    throw unsupported(
      path,
      `adapts '${name}', a stack of matrices, and was saved by a PEFT before 0.20, which turned such stacks round; ` +
        "merge it into the base with that version",
    );
  return { a: { ...a, rows: rank, experts }, b: { ...b, cols: rank, experts, byTurns: true }, scale };
}
