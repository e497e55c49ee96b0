/** Mixture of experts: a router chooses topK of many gated FFNs for each token row. */
import type { Glu, RouteSpec } from "../../ops/ops.js";
import type { Flow, From, Part, Value } from "../flow/flow.js";

export interface MoeOptions {
  readonly dim: number;
  /** Width of one expert. */
  readonly hidden: number;
  readonly experts: number;
  readonly topK: number;
  readonly act: Glu;
  readonly score: RouteSpec["score"];
  /** Divide the chosen weights by their sum. */
  readonly renormalize: boolean;
  /** Router and experts have biases. */
  readonly biases?: boolean;
  /** Factor of the chosen weights; 1 by default. */
  readonly weightScale?: number;
}

export const moe =
  (o: MoeOptions): Part =>
  (f, x) => {
    const { dim, hidden, experts, topK, score, renormalize, weightScale: scale = 1 } = o;
    const bias = o.biases ? "required" : "none";
    const choose = (f: Flow, x: Value) =>
      f.route(f.linear(x, f.matrix("ffn_gate_inp", dim, experts, "router", { bias }))[0]!, {
        topK,
        score,
        renormalize,
        scale,
      });
    f.foresee(choose);
    return f.experts(choose(f, x), x, (f, x) => {
      const stack = (name: string, cols: number, rows: number) =>
        f.matrix(`ffn_${name}_exps`, cols, rows, "expert", { gain: 1.1, bias, from: madeOf(f, name, hidden, experts) });
      const [gate, up] = f.linear(x, stack("gate", dim, hidden), stack("up", dim, hidden));
      return f.linear(f.glu(gate!, up!, o.act), stack("down", hidden, dim))[0]!;
    });
  };

/** Files also have gate and up as one tensor, and files from before experts were stacked a tensor for each of them. */
function madeOf(f: Flow, name: string, hidden: number, experts: number): From | undefined {
  const fused = "ffn_gate_up_exps";
  if (name !== "down" && f.has(`${fused}.weight`))
    return { split: fused, of: 2 * hidden, first: name === "gate" ? 0 : hidden };
  if (f.has(`ffn_${name}_exps.weight`) || !f.has(`ffn_${name}.0.weight`)) return undefined;
  // As far as the file has them and one more, which will be missed by its name: no more names than the file has tensors.
  const stack: string[] = [];
  while (stack.length < experts && (stack.length === 0 || f.has(`${stack.at(-1)}.weight`)))
    stack.push(`ffn_${name}.${stack.length}`);
  return { stack };
}
