/**
 * Mistral Small 4: latent attention and experts in DeepSeek's shape, weighed by softmax, with queries that grow with
 * the logarithm of their position.
 * @source Mistral AI 2026, "Mistral Small 4"
 */

import { defineArchitecture } from "../flow/architecture.js";
import { tinyLatent, tinyYarn } from "../parts/latent.js";
import { latentMoeConfig, latentMoeLayer } from "../parts/latent-moe.js";
import { tinyExperts } from "../parts/router.js";
import { readTemperature } from "../parts/temperature.js";
import { embedTokens, tokenHead } from "../parts/transformer.js";

export const mistral4 = defineArchitecture({
  name: "mistral4",
  families: "Mistral Small 4 119B-A6.5B",
  ggufPairs: "interleaved",
  config: (m) => ({
    ...latentMoeConfig(m, { score: "softmax", multiplier: "scores" }),
    temperature: readTemperature(m),
  }),
  begin: (f, c) => embedTokens(f, c),
  layer: (c, i) => latentMoeLayer(c, i, { temperature: c.temperature }),
  end: (f, x, c) => tokenHead(f, x, c),
  mechanisms: ["rope", "rope-pairs", "rope-scaling", "latent-norm", "router-norm", "shared-expert", "temperature"],
  tiny: [
    {
      variant: "moe",
      metadata: (dims) => ({
        ...tinyLatent(dims),
        ...tinyExperts(dims),
        ...tinyYarn,
        "attention.temperature_scale": 0.4,
        "attention.temperature_length": 16,
      }),
    },
  ],
});
