/**
 * The keys of a router: how experts are chosen and weighted, in groups or all together, and what stands beside them.
 */
import type { ExpertGroups, RouteSpec } from "../../ops/ops.js";
import type { MetadataReader } from "../flow/metadata-reader.js";

/** How experts are chosen and weighted, as the keys of a file say it. */
export interface RouterConfig {
  readonly score: RouteSpec["score"];
  readonly renormalize: boolean;
  readonly weightScale: number;
  /** Width of the shared expert; 0 = none. */
  readonly sharedHidden: number;
  /** Layers at the beginning that have a dense FFN. */
  readonly leadingDense: number;
}

const gatings: Readonly<Record<number, RouteSpec["score"]>> = {
  1: "softmax",
  2: "sigmoid",
  3: "softmax-selected",
  4: "root-softplus",
};

/** Keys of the router; `defaults` is what a family does when its files do not say. */
export function routerConfig(
  m: MetadataReader,
  { expertHidden }: { readonly expertHidden: number },
  defaults: Pick<RouterConfig, "score"> & Partial<Pick<RouterConfig, "renormalize">>,
): RouterConfig {
  const gating = m.uint("expert_gating_func", { min: 0, max: 4, default: 0 });
  const score = gating === 0 ? defaults.score : gatings[gating];
  if (score === undefined) m.fault(`'${m.arch}.expert_gating_func' is ${gating}, which is not supported`);
  return {
    score: score ?? defaults.score,
    renormalize: m.flag("expert_weights_norm", defaults.renormalize ?? false),
    // Converters write 0 for none.
    weightScale: m.float("expert_weights_scale", { default: 1 }) || 1,
    sharedHidden: m.uint("expert_shared_feed_forward_length", {
      min: 0,
      max: 2 ** 22,
      default: expertHidden * m.uint("expert_shared_count", { min: 0, max: 256, default: 0 }),
    }),
    leadingDense: m.uint("leading_dense_block_count", { min: 0, max: 4096, default: 0 }),
  };
}

/** Experts in groups, where the file has any. */
export function readGroups(
  m: MetadataReader,
  { experts, topK }: { readonly experts: number; readonly topK: number },
): ExpertGroups | undefined {
  const count = m.uint("expert_group_count", { min: 0, max: 1024, default: 0 });
  if (count <= 1) return undefined;
  const used = m.uint("expert_group_used_count", { max: count });
  if (experts % count !== 0) m.fault(`${experts} experts in ${count} groups`);
  else if ((experts / count) * used < topK) m.fault(`${topK} experts of ${used} groups of ${experts / count}`);
  return { count, used };
}

/** Its keys as options of the part. */
export const routed = (c: RouterConfig & { readonly expertHidden: number }) => ({
  hidden: c.expertHidden,
  score: c.score,
  renormalize: c.renormalize,
  weightScale: c.weightScale,
  shared: c.sharedHidden === 0 ? undefined : { hidden: c.sharedHidden },
});

/** Metadata of a tiny model: one dense layer, then 3 of 8 experts and a shared one, whose weights are renormalized. */
export const tinyExperts = (dims: 64 | 256) => ({
  leading_dense_block_count: 1,
  expert_feed_forward_length: dims,
  expert_shared_count: 1,
  expert_count: 8,
  expert_used_count: 3,
  expert_weights_norm: true,
  expert_weights_scale: 1.5,
});
