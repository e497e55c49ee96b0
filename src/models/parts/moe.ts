/** Mixture of experts: a router chooses topK of many gated FFNs for each token row. */
import type { ExpertWeights, Glu, Product, RouteSpec } from "../../ops/ops.js";
import type { Part, TensorSpec } from "../spec.js";

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

export function moe(o: MoeOptions): Part {
  const { dim, hidden, experts, topK } = o;
  const matrix = (name: string, cols: number, rows: number): TensorSpec => ({
    name,
    shape: [cols, rows, experts],
    role: "expert",
    kind: "matrix",
    tiny: { mean: 0, deviation: 1.1 / Math.sqrt(cols) },
  });
  const expertBias = (name: string, length: number): TensorSpec => ({
    name,
    shape: [length, experts],
    role: "expert",
    kind: "vector",
    tiny: { mean: 0, deviation: 0.3 },
  });
  const biases: TensorSpec[] = [
    { name: "ffn_gate_inp.bias", shape: [experts], role: "router", kind: "vector", tiny: { mean: 0, deviation: 0.3 } },
    expertBias("ffn_gate_exps.bias", hidden),
    expertBias("ffn_up_exps.bias", hidden),
    expertBias("ffn_down_exps.bias", dim),
  ];
  return {
    tensors: [
      {
        name: "ffn_gate_inp.weight",
        shape: [dim, experts],
        role: "router",
        kind: "matrix",
        tiny: { mean: 0, deviation: 1 / Math.sqrt(dim) },
      },
      matrix("ffn_gate_exps.weight", dim, hidden),
      matrix("ffn_up_exps.weight", dim, hidden),
      matrix("ffn_down_exps.weight", hidden, dim),
      ...(o.biases ? biases : []),
    ],
    bind(b, { input, output, add }) {
      const { ops } = b;
      const logits = b.scratch("router", experts); // [rows, experts]
      const routing = b.scratchRouting(topK); // [rows, topK]
      const sum = add ? b.scratch("branch", dim) : output; // [rows, dim]
      const router: Product[] = [
        {
          out: logits,
          weight: b.matrix("ffn_gate_inp.weight"),
          bias: b.optionalVector("ffn_gate_inp.bias"),
          add: false,
        },
      ];
      const weights: ExpertWeights = {
        gate: b.matrix("ffn_gate_exps.weight"),
        up: b.matrix("ffn_up_exps.weight"),
        down: b.matrix("ffn_down_exps.weight"),
        gateBias: b.optionalVector("ffn_gate_exps.bias"),
        upBias: b.optionalVector("ffn_up_exps.bias"),
        downBias: b.optionalVector("ffn_down_exps.bias"),
      };
      // Without normalisation the chosen weights are plain probabilities of all experts.
      const plain = b.mutate === "router-norm";
      const spec: RouteSpec = {
        topK,
        score: plain && o.score === "softmax-selected" ? "softmax" : o.score,
        renormalize: o.renormalize && !plain,
        scale: o.weightScale ?? 1,
        selectionBias: null,
      };
      const route = (n: number) => {
        ops.matmul(router, input, n);
        ops.route(routing, logits, n, spec);
      };
      const step = (n: number) => {
        route(n);
        ops.experts(sum, input, routing, n, weights, o.act);
        if (add) ops.add(output, sum, n);
      };
      if (ops.expectExperts === undefined) return step;
      const expect = (n: number) => {
        route(n);
        ops.expectExperts!(routing, n, weights.gate);
      };
      return Object.assign(step, { expect });
    },
  };
}
