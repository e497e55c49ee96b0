/** Rows that encoders are tested with, the same numbers everywhere. */

/** Numbers from 0 to 1, of a linear congruence. */
export function uniform(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

/**
 * Rows like those of a model, one with outliers, one of zeros with a value every 31, one of equal values, one of very
 * small ones, one whose halves differ in size.
 * @returns x: [6, cols], importance: [cols]
 */
export function encodeCases(cols: number): { readonly x: Float32Array; readonly importance: Float32Array } {
  const next = uniform(20261130);
  const bell = () => next() + next() + next() + next() - 2;
  const x = new Float32Array(6 * cols);
  for (let i = 0; i < cols; i++) {
    x[i] = bell() * 0.04;
    x[cols + i] = bell() * 0.04 * (i % 97 === 5 ? 40 : 1);
    x[2 * cols + i] = i % 31 === 0 ? bell() : 0;
    x[3 * cols + i] = 0.5;
    x[4 * cols + i] = bell() * 1e-9;
    x[5 * cols + i] = bell() * (i < cols / 2 ? 0.001 : 3);
  }
  // From 0.002 to 500.
  const importance = Float32Array.from({ length: cols }, () => Math.fround(2 ** (18 * next() - 9)));
  return { x, importance };
}
