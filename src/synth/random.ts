/** Repeatable random numbers that depend on a seed and a name only: a tensor keeps its values when others change. */

const wordStep = 0x6d2b79f5;

/**
 * Words of 32 bits (mulberry32).
 * @param first how many of them are left out
 */
export function seededWords(seed: number, name: string, first = 0): () => number {
  let state = stateOf(seed, name, first);
  return () => {
    state = (state + wordStep) | 0;
    return mixed(state);
  };
}

function stateOf(seed: number, name: string, first: number): number {
  let state = seed | 0;
  for (let i = 0; i < name.length; i++) state = Math.imul(state ^ name.charCodeAt(i), 0x01000193);
  return (state + Math.imul(first, wordStep)) | 0;
}

function mixed(state: number): number {
  let t = Math.imul(state ^ (state >>> 15), 1 | state);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return (t ^ (t >>> 14)) >>> 0;
}

/**
 * Standard normal numbers (Box-Muller).
 * @param first how many of them are left out; each takes two words
 */
export function seededNormals(seed: number, name: string, first = 0): () => number {
  const words = seededWords(seed, name, 2 * first);
  const uniform = () => words() / 2 ** 32;
  return () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
}

/**
 * Fills `out` with numbers of `seededNormals` in half of its time, which is most of what making a tiny model takes.
 * @param first how many of them are left out
 */
export function fillNormals(seed: number, name: string, out: Float64Array, first = 0): void {
  let state = stateOf(seed, name, 2 * first);
  for (let i = 0; i < out.length; i++) {
    const radius = mixed((state + wordStep) | 0) / 2 ** 32;
    state = (state + 2 * wordStep) | 0;
    out[i] = Math.sqrt(-2 * Math.log(1 - radius)) * Math.cos(2 * Math.PI * (mixed(state) / 2 ** 32));
  }
}
