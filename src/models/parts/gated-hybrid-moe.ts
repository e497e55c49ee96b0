/** The experts of Qwen's hybrids: a softmax router, and an expert that every row takes as much of as a gate says. */
import type { MetadataReader } from "../flow/metadata-reader.js";
import { gatedHybridConfig, tinyGatedHybrid } from "./gated-hybrid.js";
import { moe } from "./moe.js";
import { routed, routerConfig } from "./router.js";

export function gatedHybridMoeConfig(m: MetadataReader) {
  const common = gatedHybridConfig(m, { ffn: "experts" });
  const router = routerConfig(m, common, { score: "softmax" });
  return { ...common, ...router, sharedHidden: router.sharedHidden || common.hidden };
}

export const gatedHybridExperts = (c: ReturnType<typeof gatedHybridMoeConfig>) => {
  const shared = { hidden: c.sharedHidden, gated: true };
  return moe({ ...c, ...routed(c), act: "silu", score: "softmax", renormalize: true, shared });
};

export const tinyGatedHybridMoe = (dims: 64 | 256) => ({
  ...tinyGatedHybrid(dims),
  expert_feed_forward_length: dims,
  expert_shared_feed_forward_length: dims,
  expert_count: 8,
  expert_used_count: 3,
});
