/** Dense gated feed-forward: down(act(gate(x)) * up(x)).  @source Shazeer 2020, "GLU Variants Improve Transformer" */
import type { Glu } from "../../ops/ops.js";
import type { Flow, Part } from "../flow.js";
import type { Bias } from "../tensors.js";

export interface GatedFfnOptions {
  readonly dim: number;
  readonly hidden: number;
  readonly act: Glu;
  readonly bias?: Bias;
}

export const gatedFfn =
  (o: GatedFfnOptions): Part =>
  (f, x) => {
    const [gate, up] = f.linear(x, weight(f, o, "gate", o.dim, o.hidden), weight(f, o, "up", o.dim, o.hidden));
    return f.linear(f.glu(gate!, up!, o.act), weight(f, o, "down", o.hidden, o.dim))[0]!;
  };

const weight = (f: Flow, { bias = "none" }: GatedFfnOptions, name: string, cols: number, rows: number) =>
  f.matrix(`ffn_${name}`, cols, rows, "ffn", { gain: 1.1, bias });
