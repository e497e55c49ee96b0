/** A GGUF model with fewer channels in its feed-forward nets: those whose part of the output is smallest go. */
import type { Moments } from "../../compress/moments.js";
import { HundredweightError } from "../../errors.js";
import type { GgufCheckpoint, TypedValue } from "../../formats/index.js";
import { ColumnCut, type ColumnOptions, largest } from "./columns.js";
import type { Pruned, PrunedTensor } from "./layers.js";
import { lastOf, withTensors } from "./rows.js";

const refuse = (what: string): HundredweightError => new HundredweightError("OPTION_INVALID", `--ffn: ${what}`);

/**
 * @param keep channels of every layer that stay, a multiple of 32
 * @throws OPTION_INVALID for experts, layers of different widths, quantized matrices and moments of another model
 */
export async function withoutChannels(
  checkpoint: GgufCheckpoint,
  moments: Moments,
  keep: number,
  options: ColumnOptions = {},
): Promise<Pruned> {
  const arch = checkpoint.metadata.string("general.architecture") ?? "";
  const key = `${arch}.feed_forward_length`;
  const said = new Map(checkpoint.metadata.entries()).get(key);
  if (said === undefined || said.type === "array") throw refuse("the layers of this model differ in width");
  const hidden = Number(said.value);
  if (!(keep >= 32) || keep % 32 !== 0 || keep >= hidden)
    throw refuse(`${keep} of ${hidden} channels: a multiple of 32 below that`);
  const layers = checkpoint.metadata.number(`${arch}.block_count`) ?? 0;
  const cut = new ColumnCut(moments, options, refuse);
  const changed = new Map<string, PrunedTensor>();
  for (let layer = 0; layer < layers; layer++) {
    const name = (part: string) => `blk.${layer}.ffn_${part}`;
    const down = checkpoint.tensors.get(name("down.weight"));
    const up = checkpoint.tensors.get(name("up.weight"));
    if (down?.shape[0] !== hidden || up?.shape[1] !== hidden || down.shape.length > 2)
      throw refuse(`layer ${layer} has no feed-forward net of ${hidden} channels with matrices of their own`);
    const kept = largest(await cut.shares(down), keep);
    for (const part of ["up.weight", "gate.weight", "up.bias", "gate.bias"]) {
      const tensor = checkpoint.tensors.get(name(part));
      if (tensor !== undefined) changed.set(tensor.name, { name: tensor.name, tensor: lastOf(tensor, kept) });
    }
    changed.set(down.name, cut.without(down, kept));
  }
  for (const { name, shape } of checkpoint.tensors.values())
    if (/^blk\.\d+\.ffn_/.test(name) && !changed.has(name) && shape.includes(hidden))
      throw refuse(`'${name}' has a value for each channel too`);
  return withTensors(checkpoint, changed, new Map([[key, { ...said, value: keep } as TypedValue]]));
}
