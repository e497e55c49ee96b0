/**
 * Which tensors matter: those of one role in neighbouring layers are made worse together, and the divergence of the
 * whole model is divided by how far their rows are off then.
 */
import type { Candidate, Choice } from "./candidates.js";

export interface Group {
  readonly name: string;
  /** Indices of choices. */
  readonly members: readonly number[];
}

/** Parts of the depth that are looked at apart. */
const depths = 4;

export function groupsOf(choices: readonly Choice[]): Group[] {
  const layerOf = (name: string) => Number(/^blk\.(\d+)\./.exec(name)?.[1] ?? -1);
  const names = choices.map(({ planned }) => planned.tensor.name);
  const layers = 1 + Math.max(-1, ...names.map(layerOf));
  const groups = new Map<string, number[]>();
  for (const [i, name] of names.entries()) {
    const layer = layerOf(name);
    const depth = layer < 0 ? "" : ` in part ${1 + Math.floor((depths * layer) / layers)} of ${depths}`;
    const key = `${name.replace(/^blk\.\d+\./, "").replace(/\.weight$/, "")}${depth}`;
    groups.set(key, [...(groups.get(key) ?? []), i]);
  }
  return [...groups].map(([name, members]) => ({ name, members }));
}

/** The candidate a tensor is made worse with: the largest of at most so many bits a value, else the smallest. */
export function probeOf({ planned, candidates }: Choice, bits: number): Candidate {
  const values = planned.tensor.shape.reduce((product, size) => product * size, 1);
  const lossy = candidates.filter(({ error }) => error > 0);
  return lossy.findLast(({ bytes }) => (8 * bytes) / values <= bits) ?? lossy[0] ?? candidates[0]!;
}

/**
 * Damage of each tensor's error, where a group's divergence is its own share of it.
 * @param measured divergence with each group made worse
 */
export function weightsOf(
  choices: readonly Choice[],
  groups: readonly Group[],
  probes: readonly Candidate[],
  measured: readonly number[],
): number[] {
  const weights = choices.map(() => 0);
  for (const [g, { members }] of groups.entries()) {
    const error = members.reduce((sum, i) => sum + probes[i]!.error, 0);
    for (const i of members) weights[i] = error > 0 ? Math.max(0, measured[g]!) / error : 0;
  }
  return weights;
}
