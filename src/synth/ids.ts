/** Tables of whole numbers: which experts a token takes. */
import { dtypeByName } from "../formats/index.js";

/** The type of their values in a file. */
export const idsType = dtypeByName("I32")!;

/**
 * Numbers below `below`, different along a row.
 * @shape shape [row, ...rows]
 */
export function randomIds(below: number, shape: readonly number[], words: () => number): Uint8Array {
  const [cols, ...others] = shape as [number, ...number[]];
  const rows = others.reduce((product, size) => product * size, 1);
  const values = new Int32Array(cols * rows);
  for (let r = 0; r < rows; r++)
    for (let i = 0; i < cols; i++) {
      // The rest of the numbers in their order, from a random one on.
      let id = words() % below;
      while (values.subarray(r * cols, r * cols + i).includes(id)) id = (id + 1) % below;
      values[r * cols + i] = id;
    }
  return new Uint8Array(values.buffer);
}
