/** Mixture of experts: a router chooses topK of many gated FFNs for each token row; perhaps a shared one is added. */
import type { ExpertGroups, Glu, RouteSpec } from "../../ops/ops.js";
import type { Flow, From, Part, RouteOptions, Value } from "../flow/flow.js";
import { gatedFfn } from "./gated-ffn.js";

/** An expert that every row takes, beside those that are chosen. */
export interface SharedExpert {
  readonly hidden: number;
  /** Its result is multiplied by the sigmoid of a product of the row: one factor. */
  readonly gated?: boolean;
  /** The rows of its gate and up are one tensor of this name. */
  readonly fused?: string;
  /** Where it is not that of the others. */
  readonly act?: Glu;
}

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
  /** Full local name of a tensor that is added to the scores for choosing only, and whether a file may do without. */
  readonly selectionBias?: string;
  readonly selectionBiasOptional?: boolean;
  readonly shared?: SharedExpert | undefined;
  readonly groups?: ExpertGroups | undefined;
  /** Experts come from a table of the token ids, of this name and so many rows, whatever their scores. */
  readonly table?: { readonly name: string; readonly tokens: number } | undefined;
  /** Full local name of a tensor of factors of the weights, one for each expert. */
  readonly factors?: string | undefined;
  /** Weights multiply what goes into experts. */
  readonly weightsInput?: boolean;
  /** Made of the row before the router, or the experts, read it. */
  readonly routerInput?: Part;
  readonly expertInput?: Part;
}

export const moe =
  (o: MoeOptions): Part =>
  (f, x) => {
    const { dim, hidden, experts, topK, score, renormalize, weightScale: scale = 1 } = o;
    const bias = o.biases ? "required" : "none";
    const choose = (f: Flow, x: Value) => {
      const read = o.routerInput?.(f, x) ?? x;
      const scores = f.linear(read, f.matrix("ffn_gate_inp", dim, experts, "router", { bias }))[0]!;
      const own = { selectionBias: selectionBias(f, o), factors: factors(f, o), groups: o.groups, table: table(f, o) };
      return f.route(scores, { topK, score, renormalize, scale, ...own });
    };
    f.foresee(choose);
    const inner: Part = (f, x) => {
      const stack = (name: string, cols: number, rows: number) =>
        f.matrix(`ffn_${name}_exps`, cols, rows, "expert", { gain: 1.1, bias, from: madeOf(f, name, hidden, experts) });
      const [gate, up] = f.linear(x, stack("gate", dim, hidden), stack("up", dim, hidden));
      return f.linear(f.glu(gate!, up!, o.act), stack("down", hidden, dim))[0]!;
    };
    const routes = choose(f, x);
    const routed = f.experts(routes, o.expertInput?.(f, x) ?? x, inner, { weightsInput: o.weightsInput ?? false });
    return o.shared === undefined ? routed : f.add(routed, shared(f, o, o.shared, x));
  };

/** Files also have gate and up as one tensor, and files from before experts were stacked a tensor for each of them. */
function madeOf(f: Flow, name: string, hidden: number, experts: number): From | undefined {
  const fused = "ffn_gate_up_exps";
  if (name !== "down" && f.has(`${fused}.weight`))
    return { split: fused, of: 2 * hidden, first: name === "gate" ? 0 : hidden };
  if (f.has(`ffn_${name}_exps.weight`) || !f.has(`ffn_${name}.0.weight`)) return undefined;
  // As far as the file has them and one more, which will be missed by its name: no more names than the file has
  // tensors.
  const stack: string[] = [];
  while (stack.length < experts && (stack.length === 0 || f.has(`${stack.at(-1)}.weight`)))
    stack.push(`ffn_${name}.${stack.length}`);
  return { stack };
}

function selectionBias(f: Flow, o: MoeOptions): NonNullable<RouteOptions["selectionBias"]> | null {
  if (o.selectionBias === undefined) return null;
  // Probabilities of 1 / experts or about a half: a deviation of a quarter changes choices.
  const fill = { suffix: "", fill: [0, 0.25] } as const;
  return f.vector(o.selectionBias, o.experts, "router", o.selectionBiasOptional ? { ...fill, optional: true } : fill);
}

const table = (f: Flow, { table, topK, experts }: MoeOptions) => {
  if (table === undefined) return null;
  const { name, tokens } = table;
  return f.vector(name, topK * tokens, "router", { shape: [topK, tokens], ids: experts });
};

const factors = (f: Flow, { factors: name, experts }: MoeOptions) =>
  name === undefined ? null : f.vector(name, experts, "router", { suffix: "", optional: true, fill: [1, 0.4] });

function shared(f: Flow, { dim, act }: MoeOptions, o: SharedExpert, x: Value): Value {
  const { hidden, gated = false, fused } = o;
  const y = gatedFfn({ dim, hidden, act: o.act ?? act, suffix: "_shexp", ...(fused !== undefined && { fused }) })(f, x);
  if (!gated) return y;
  const factor = f.linear(x, f.matrix("ffn_gate_inp_shexp", dim, 1, "router", { gain: 2 }))[0]!;
  return f.multiply(y, f.act(factor, "sigmoid"));
}

/** A dense FFN where the file has one in this layer, or says so; experts elsewhere. */
export const denseOr =
  (dense: boolean, { dim, hidden }: { readonly dim: number; readonly hidden: number }, experts: Part): Part =>
  (f, x) =>
    dense || f.has("ffn_gate.weight") ? gatedFfn({ dim, hidden, act: "silu" })(f, x) : experts(f, x);
