/** Dense gated feed-forward: down(act(gate(x)) * up(x)).  @source Shazeer 2020, "GLU Variants Improve Transformer" */
import type { Glu, Product } from "../../ops/ops.js";
import type { Part, TensorSpec } from "../spec.js";
import { type Bias, bias } from "./gqa.js";

export interface GatedFfnOptions {
  readonly dim: number;
  readonly hidden: number;
  readonly act: Glu;
  readonly bias?: Bias;
}

export function gatedFfn(o: GatedFfnOptions): Part {
  const { dim, hidden, act } = o;
  const matrix = (name: string, cols: number, rows: number): TensorSpec => ({
    name,
    shape: [cols, rows],
    role: "ffn",
    kind: "matrix",
    tiny: { mean: 0, deviation: 1.1 / Math.sqrt(cols) },
  });
  return {
    tensors: [
      matrix("ffn_gate.weight", dim, hidden),
      matrix("ffn_up.weight", dim, hidden),
      matrix("ffn_down.weight", hidden, dim),
      ...bias("ffn_gate.bias", hidden, o.bias ?? "none", "ffn"),
      ...bias("ffn_up.bias", hidden, o.bias ?? "none", "ffn"),
      ...bias("ffn_down.bias", dim, o.bias ?? "none", "ffn"),
    ],
    bind(b, { input, output, add }) {
      const { ops } = b;
      const gate = b.scratch("gate", hidden); // [rows, hidden]
      const up = b.scratch("up", hidden); // [rows, hidden]
      const inward: Product[] = [
        { out: gate, weight: b.matrix("ffn_gate.weight"), bias: b.optionalVector("ffn_gate.bias"), add: false },
        { out: up, weight: b.matrix("ffn_up.weight"), bias: b.optionalVector("ffn_up.bias"), add: false },
      ];
      const outward: Product[] = [
        { out: output, weight: b.matrix("ffn_down.weight"), bias: b.optionalVector("ffn_down.bias"), add },
      ];
      return (n) => {
        ops.matmul(inward, input, n);
        ops.glu(gate, gate, up, n, act);
        ops.matmul(outward, gate, n);
      };
    },
  };
}
