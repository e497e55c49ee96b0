/** Dense gated feed-forward: down(act(gate(x)) * up(x)).  @source Shazeer 2020, "GLU Variants Improve Transformer" */
import type { Glu } from "../../ops/ops.js";
import type { Flow, From, Part } from "../flow/flow.js";
import type { Bias } from "../flow/tensors.js";

export interface GatedFfnOptions {
  readonly dim: number;
  readonly hidden: number;
  readonly act: Glu;
  /** The rows of gate and up are one tensor of this name. */
  readonly fused?: string;
  readonly bias?: Bias;
  /** Behind the names of its tensors: `_shexp` of a shared expert. */
  readonly suffix?: string;
}

export const gatedFfn =
  (o: GatedFfnOptions): Part =>
  (f, x) => {
    const half = (first: number): From | undefined =>
      o.fused === undefined ? undefined : { split: o.fused, of: 2 * o.hidden, first };
    const [gate, up] = f.linear(
      x,
      weight(f, o, "gate", o.dim, o.hidden, half(0)),
      weight(f, o, "up", o.dim, o.hidden, half(o.hidden)),
    );
    return f.linear(f.glu(gate!, up!, o.act), weight(f, o, "down", o.hidden, o.dim))[0]!;
  };

const weight = (
  f: Flow,
  { bias = "none", suffix = "" }: GatedFfnOptions,
  name: string,
  cols: number,
  rows: number,
  from?: From,
) => f.matrix(`ffn_${name}${suffix}`, cols, rows, "ffn", { gain: 1.1, bias, from });
