/** Vectors that containers store in another form than models use. */
import type { VectorChange } from "./types.js";

/** Changes the values in place, as the converters of GGUF files do. */
export function changedVector(values: Float32Array, change: VectorChange | undefined): Float32Array {
  if (change === "plus one") for (let i = 0; i < values.length; i++) values[i]! += 1;
  if (change === "minus exp") for (let i = 0; i < values.length; i++) values[i] = -Math.exp(values[i]!);
  return values;
}
