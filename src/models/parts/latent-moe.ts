/** Layers of latent attention and experts as in DeepSeek V2: the first ones dense, one expert shared by all rows. */
import type { RouteSpec } from "../../ops/ops.js";
import type { Branch } from "../flow/architecture.js";
import type { MetadataReader } from "../flow/metadata-reader.js";
import { type LatentConfig, type LatentOptions, latent, latentConfig } from "./latent.js";
import { leadingDenseFfn } from "./leading-dense.js";
import { readGroups, routerConfig } from "./router.js";
import { rms, streamConfig } from "./transformer.js";

export type LatentMoeConfig = ReturnType<typeof latentMoeConfig>;

interface Differences {
  /** Scores of a router whose file does not say it. */
  readonly score: RouteSpec["score"];
  /** As `latentConfig` has it. */
  readonly multiplier: "both" | "scores";
  /** Queries are made by two products in all models of the family. */
  readonly queryRank?: "required";
}

export function latentMoeConfig(m: MetadataReader, { score, multiplier, queryRank }: Differences) {
  const common = streamConfig(m, { ffn: "experts" });
  const router = routerConfig(m, common, { score });
  const latent = latentConfig(m, multiplier);
  if (queryRank === "required" && latent.queryRank === 0)
    m.fault(`metadata '${m.arch}.attention.q_lora_rank' is missing or 0`);
  return { ...common, ...router, latent, groups: readGroups(m, common) };
}

export const latentMoeLayer = (
  c: LatentMoeConfig,
  i: number,
  o: Partial<Omit<LatentOptions, keyof LatentConfig>> = {},
): Branch[] => [
  { site: "mixer", before: rms("attn_norm", c), part: latent({ dim: c.dim, eps: c.eps, ...c.latent, ...o }) },
  { site: "ffn", before: rms("ffn_norm", c), part: leadingDenseFfn(c, i) },
];
