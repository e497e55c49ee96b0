/**
 * Experts without gates: down(act(up(x))), perhaps in a narrower space than the stream's, between two products that
 * all of them share; perhaps one that every row takes, in the space of the stream.
 * @source NVIDIA 2025, "Nemotron 3", latent mixture of experts
 */
import type { Activation } from "../../ops/ops.js";
import type { Flow, Part, Value } from "../flow/flow.js";
import { plainFfn } from "./plain-ffn.js";
import type { RouterConfig } from "./router.js";

export interface PlainMoeOptions extends Omit<RouterConfig, "leadingDense"> {
  readonly dim: number;
  /** Width of one expert. */
  readonly expertHidden: number;
  readonly experts: number;
  readonly topK: number;
  readonly act: Activation;
  /** Full local name of a tensor that is added to the scores for choosing only. */
  readonly selectionBias: string;
  /** Width of the space experts work in; 0 = the stream's. */
  readonly latent: number;
}

export const plainMoe =
  (o: PlainMoeOptions): Part =>
  (f, x) => {
    const { dim, expertHidden: hidden, experts, topK, act, score, renormalize, weightScale: scale, latent } = o;
    const choose = (f: Flow, x: Value) => {
      const scores = f.linear(x, f.matrix("ffn_gate_inp", dim, experts, "router"))[0]!;
      // Sigmoids lie about a half: a deviation of a quarter changes choices.
      const selectionBias = f.vector(o.selectionBias, experts, "router", { suffix: "", fill: [0, 0.25] });
      return f.route(scores, { topK, score, renormalize, scale, selectionBias });
    };
    f.foresee(choose);
    const routes = choose(f, x);
    const wide = latent || dim;
    const narrow = latent === 0 ? x : f.linear(x, f.matrix("ffn_latent_down", dim, latent, "ffn"))[0]!;
    const sum = f.experts(routes, narrow, (f, x) => {
      const up = f.linear(x, f.matrix("ffn_up_exps", wide, hidden, "expert", { gain: 1.1 }))[0]!;
      return f.linear(f.act(up, act), f.matrix("ffn_down_exps", hidden, wide, "expert", { gain: 1.4 }))[0]!;
    });
    const y = latent === 0 ? sum : f.linear(sum, f.matrix("ffn_latent_up", latent, dim, "ffn"))[0]!;
    if (o.sharedHidden === 0) return y;
    return f.add(y, plainFfn({ dim, hidden: o.sharedHidden, act, suffix: "_shexp" })(f, x));
  };
