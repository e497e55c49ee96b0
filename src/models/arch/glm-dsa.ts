/**
 * GLM-5: latent attention over positions that an indexer chooses. From 5.2 on only some layers have one, and the others
 * see what the last of them chose. A block that guesses further tokens is a program of its own.
 * @source GLM-5 Team 2026, "GLM-5: from Vibe Coding to Agentic Engineering"
 */

import { defineArchitecture } from "../flow/architecture.js";
import type { Flow, Selection, Value } from "../flow/flow.js";
import type { MetadataReader } from "../flow/metadata-reader.js";
import { choose, indexerConfig, tinyIndexer } from "../parts/indexer.js";
import { tinyLatent } from "../parts/latent.js";
import { latentMoeConfig, latentMoeLayer } from "../parts/latent-moe.js";
import { mtpBlocks, mtpPrograms } from "../parts/mtp.js";
import { tinyExperts } from "../parts/router.js";
import { embedTokens, tokenHead } from "../parts/transformer.js";

/** Layers that choose for themselves. Files that do not say it are of GLM-5, or of 5.2 where contexts are long. */
function choosing(m: MetadataReader, layers: number): boolean[] {
  const key = "attention.indexer.types";
  const long = m.uint("context_length") >= 2 ** 20;
  if (!m.has(key)) return Array.from({ length: layers }, (_, i) => !long || i < 2 || i % 4 === 2);
  const own = m.uints(key, layers, { min: 0, max: 1 }).map((type) => type === 1);
  if (own[0] === false) m.fault(`metadata '${m.arch}.${key}': the first layer has nothing chosen before it`);
  return own;
}

export const glmDsa = defineArchitecture({
  name: "glm-dsa",
  families: "GLM-5, 5.1, 5.2, 5.3 744B-A40B",
  ggufPairs: "interleaved",
  config(m) {
    const common = latentMoeConfig(m, { score: "sigmoid", multiplier: "scores", queryRank: "required" });
    return {
      ...common,
      indexer: indexerConfig(m, common.latent.rope),
      choosing: choosing(m, common.layers),
      mtp: mtpBlocks(m, common.layers),
    };
  },
  begin: (f, c) => embedTokens(f, c),
  layer: (c, i) =>
    latentMoeLayer(c, i, {
      choose: (f: Flow, x: Value, low: Value) =>
        c.choosing[i] ? f.share("chosen", choose(f, c.indexer, x, low)) : (f.shared("chosen") as Selection),
    }),
  end: (f, x, c) => tokenHead(f, x, c),
  // It sees all positions.
  programs: (c) => mtpPrograms(c, (i) => latentMoeLayer(c, i)),
  mechanisms: ["rope", "rope-pairs", "latent-norm", "selection", "router-norm", "selection-bias", "shared-expert"],
  tiny: [
    { variant: "glm-5", metadata: tiny, optionalTensors: ["exp_probs_b.bias"] },
    {
      variant: "glm-5.2",
      metadata: (dims) => ({ ...tiny(dims), "attention.indexer.types": [1, 0, 1, 0], block_count: 4 }),
      optionalTensors: ["exp_probs_b.bias"],
      shallow: { "attention.indexer.types": [1, 0] },
    },
  ],
});

function tiny(dims: 64 | 256) {
  return { ...tinyLatent(dims), ...tinyExperts(dims), ...tinyIndexer, expert_gating_func: 2 };
}
