/** Random models of all families whose files may hold blocks that guess further tokens. */
import { join } from "node:path";
import { findArchitecture } from "../../src/models/index.js";
import { tinyMtp } from "../../src/models/parts/mtp.js";
import { type RandomModelSpec, writeRandomModel } from "./random-model.js";

/** Architecture, one of its tiny variants, and blocks behind the trunk. */
export type GuessingFamily = readonly [arch: string, variant: string, count: number];

export const guessingFamilies: readonly GuessingFamily[] = [
  ["glm4moe", "moe", 1],
  ["qwen35", "dense", 1],
  ["qwen35moe", "moe", 1],
  ["qwen3next", "moe", 1],
  ["deepseek2", "v3", 1],
  ["deepseek32", "moe", 1],
  ["glm-dsa", "glm-5.2", 1],
  ["hy_v3", "moe", 1],
  ["cohere2moe", "moe", 1],
  ["bailingmoe2", "moe", 1],
  ["bailingmoe3", "moe", 1],
  ["exaone-moe", "moe", 1],
  ["step35", "moe", 3],
  ["mimo2", "moe", 2],
];

/** Those whose blocks differ most: states that are replaced, positions that are chosen, windows, several blocks. */
export const mostDifferentFamilies = guessingFamilies.filter(([arch]) =>
  ["glm4moe", "qwen35", "glm-dsa", "step35", "mimo2"].includes(arch),
);

/**
 * The family's model with `count` blocks more; what metadata says for each layer it says for them too.
 * @returns its path
 */
export async function writeGuessingModel(
  folder: string,
  [arch, variant, count]: GuessingFamily,
  more: Pick<Partial<RandomModelSpec>, "seed" | "types"> = {},
): Promise<string> {
  const dims = 64;
  const declaration = findArchitecture(arch);
  const known = declaration.tiny.find((tiny) => tiny.variant === variant)!;
  const metadata = known.metadata(dims);
  const layers = metadata.block_count as number;
  const longer = Object.entries(metadata).map(([key, value]) => {
    const perLayer = Array.isArray(value) && value.length === layers;
    return [key, perLayer ? [...value, ...new Array(count).fill(value.at(-1))] : value];
  });
  const all = { ...Object.fromEntries(longer), block_count: layers + count, nextn_predict_layers: count };
  const shapes = Object.assign({}, ...Array.from({ length: count }, (_, i) => tinyMtp(layers + i)(dims)));
  const optionalTensors = [...(known.optionalTensors ?? []), "layer_output_norm.weight"];
  const tiny = [
    { ...known, optionalTensors, metadata: () => all, shapes: () => ({ ...known.shapes?.(dims), ...shapes }) },
  ];
  const path = join(folder, `${arch}-${variant}.gguf`);
  const find = (): typeof declaration => ({ ...declaration, tiny });
  await writeRandomModel(path, { arch, variant, dims, types: {}, seed: 5, ...more, find });
  return path;
}
