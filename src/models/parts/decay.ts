/** How much of a state is left at the next row, for all states that are kept as sums. */
import type { Flow, Value, VectorOptions } from "../flow/flow.js";

/**
 * Most random models have forgotten half of what they know some ten rows later. A rate above zero would make a state
 * grow by a factor with every row, until nothing holds it.
 */
const rateFill = [-0.3, 0.1, "negative"] as const;

/**
 * exp(a step), a being below zero.
 * @param o how the file has a: its shape, and how many neighbours a value of it stands for
 * @shape step [rows, length], or [rows, length * each]
 */
export function decayOf(f: Flow, step: Value, length: number, o: Pick<VectorOptions, "shape" | "each"> = {}): Value {
  const rate = f.vector("ssm_a", length, "attention", { ...o, suffix: "", fill: rateFill });
  return f.act(f.multiplyVector(step, rate), "exp");
}
