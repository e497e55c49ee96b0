/** DeepSeek's feed-forward layers, which many families took over: the first ones dense, then experts. */
import type { Part } from "../flow/flow.js";
import { gatedFfn } from "./gated-ffn.js";
import { type MoeOptions, moe } from "./moe.js";
import { type RouterConfig, routed } from "./router.js";

type LeadingDenseConfig = Pick<MoeOptions, "dim" | "experts" | "topK" | "groups"> &
  RouterConfig & { readonly hidden: number; readonly expertHidden: number };

/** The FFN of layer `i`; experts are chosen with a bias where the file has one. */
export const leadingDenseFfn = (c: LeadingDenseConfig, i: number, selectionBias = "exp_probs_b.bias"): Part =>
  i < c.leadingDense
    ? gatedFfn({ dim: c.dim, hidden: c.hidden, act: "silu" })
    : moe({ ...c, ...routed(c), act: "silu", selectionBias, selectionBiasOptional: true });
