/**
 * DeepSeek V3.2: V3 in which every layer has an indexer that chooses the positions attention sees. Its heads are
 * rotated in halves where attention's are rotated in neighbours. A block that guesses further tokens is a
 * program of its own.
 * @source DeepSeek-AI 2025, "DeepSeek-V3.2: Pushing the Frontier of Open Large Language Models"
 */

import { defineArchitecture } from "../flow/architecture.js";
import { choose, indexerConfig, tinyIndexer } from "../parts/indexer.js";
import { tinyLatent, tinyYarn } from "../parts/latent.js";
import { latentMoeConfig, latentMoeLayer } from "../parts/latent-moe.js";
import { mtpBlocks, mtpPrograms } from "../parts/mtp.js";
import { tinyExperts } from "../parts/router.js";
import { embedTokens, tokenHead } from "../parts/transformer.js";

export const deepseek32 = defineArchitecture({
  name: "deepseek32",
  families: "DeepSeek V3.2 685B-A37B",
  ggufPairs: "interleaved",
  config(m) {
    const common = latentMoeConfig(m, { score: "sigmoid", multiplier: "scores", queryRank: "required" });
    const indexer = indexerConfig(m, { ...common.latent.rope, pairs: "halves" });
    return { ...common, indexer, mtp: mtpBlocks(m, common.layers) };
  },
  begin: (f, c) => embedTokens(f, c),
  layer: (c, i) => latentMoeLayer(c, i, { choose: (f, x, low) => choose(f, c.indexer, x, low) }),
  end: (f, x, c) => tokenHead(f, x, c),
  // It sees all positions.
  programs: (c) => mtpPrograms(c, (i) => latentMoeLayer(c, i)),
  mechanisms: [
    "rope",
    "rope-pairs",
    "rope-scaling",
    "latent-norm",
    "selection",
    "router-norm",
    "selection-bias",
    "groups",
    "shared-expert",
  ],
  tiny: [
    {
      variant: "moe",
      metadata: (dims) => ({
        ...tinyLatent(dims),
        ...tinyExperts(dims),
        ...tinyYarn,
        ...tinyIndexer,
        expert_gating_func: 2,
        expert_group_count: 4,
        expert_group_used_count: 2,
      }),
      optionalTensors: ["exp_probs_b.bias"],
    },
  ],
});
