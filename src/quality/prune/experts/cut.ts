/** A GGUF model with fewer experts: their matrices, rows of the router and whatever else each of them has. */
import type { Checkpoint, GgufCheckpoint, TypedValue } from "../../../formats/index.js";
import { describeModel, type ExpertLayer, type ModelDescription } from "../../../models/index.js";
import { type Pruned, type PrunedTensor, prunedCheckpoint, withoutLayers } from "../layers.js";
import { lastOf } from "../rows.js";
import { refuse } from "./saliency.js";

/** The experts that stay, and the bytes of last matrices that were fitted anew. */
export interface ExpertCut {
  /** By layer, ascending. */
  readonly kept: ReadonlyMap<number, Int32Array>;
  readonly repaired?: (layer: number) => AsyncGenerator<Uint8Array>;
}

/**
 * The model without its blocks that guess further tokens, which the visit of a text does not go through: nothing is
 * known of their experts, and a file has one number of experts for all.
 */
export function withoutGuesses(checkpoint: GgufCheckpoint): { checkpoint: GgufCheckpoint; blocks: number } {
  const { programs, config, arch } = describeModel(checkpoint);
  if (programs.size === 0) return { checkpoint, blocks: 0 };
  const all = checkpoint.metadata.number(`${arch}.block_count`) ?? config.layers;
  const blocks = Array.from({ length: all - config.layers }, (_, i) => config.layers + i);
  const cut = prunedCheckpoint(checkpoint, withoutLayers(checkpoint, blocks));
  return { checkpoint: cut as GgufCheckpoint, blocks: blocks.length };
}

/**
 * @throws OPTION_INVALID for experts that are tensors of their own, and for tensors with a value for each expert that
 *   nothing uses
 */
export function withoutExperts(
  checkpoint: GgufCheckpoint,
  layers: readonly ExpertLayer[],
  { kept, repaired }: ExpertCut,
): Pruned {
  const arch = checkpoint.metadata.string("general.architecture") ?? "";
  const changed = new Map<string, PrunedTensor>();
  for (const { layer, router, route, call } of layers) {
    const own = kept.get(layer)!;
    const { gate, up, down } = call.body;
    const weights = [gate, up, down, router].flatMap((w) =>
      w === null ? [] : [w, ...(w.bias === null ? [] : [w.bias])],
    );
    const vectors = [route.selectionBias, route.factors].filter((vector) => vector !== null);
    const names = [...weights, ...vectors].flatMap(({ tensor }) =>
      (tensor.made ?? [{ tensor }]).map((run) => run.tensor.name),
    );
    for (const name of new Set(names)) {
      const tensor = checkpoint.tensors.get(name)!;
      if (tensor.shape.at(-1) !== route.routes.experts)
        throw refuse(`'${name}' is not of all experts: the file has each of them as a tensor of its own`);
      const cut = { name, tensor: lastOf(tensor, own) };
      const isDown = name === down.tensor.name && repaired !== undefined;
      changed.set(name, isDown ? { ...cut, data: () => repaired(layer) } : cut);
    }
  }
  for (const { name, shape } of checkpoint.tensors.values())
    if (/^blk\.\d+\.(ffn_.*_exps|exp_probs)/.test(name) && !changed.has(name))
      throw refuse(`'${name}' [${shape.join(", ")}] belongs to experts, and nothing is known of it`);
  const metadata = new Map<string, TypedValue>(checkpoint.metadata.entries());
  for (const name of metadata.keys()) if (name.startsWith("split.")) metadata.delete(name);
  const keep = [...kept.values()][0]!.length;
  const set = (key: string, value: number): void => {
    const said = metadata.get(key);
    if (said !== undefined) metadata.set(key, { ...said, value } as TypedValue);
  };
  set(`${arch}.expert_count`, keep);
  set(`${arch}.expert_used_count`, Math.min(keep, layers[0]!.route.spec.topK));
  const tensors = [...checkpoint.tensors.values()].map(
    (tensor) => changed.get(tensor.name) ?? { name: tensor.name, tensor },
  );
  return { metadata, tensors };
}

/** The pruned file as a model. @throws MODEL_INVALID where a count does not fit */
export const describePruned = (checkpoint: Checkpoint, pruned: Pruned): ModelDescription =>
  describeModel(prunedCheckpoint(checkpoint, pruned));
