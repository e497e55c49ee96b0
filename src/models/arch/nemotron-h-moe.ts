/**
 * Nemotron 3: the blocks of Nemotron-H, FFNs being experts without gates and one that every row takes; in the larger
 * models experts work in a narrower space. A block that guesses the next token but one is left out.
 * @source NVIDIA 2025, "Nemotron 3"
 */
import { defineArchitecture } from "../flow/architecture.js";
import { plainMoe } from "../parts/plain-moe.js";
import { routerConfig } from "../parts/router.js";
import { stateSpaceMechanisms } from "../parts/state-space.js";
import { embedTokens, tokenHead } from "../parts/transformer.js";
import { nemotronHConfig, nemotronHLayer, shallowNemotronH as shallow, tinyNemotronH } from "./nemotron-h.js";

const tiny = (dims: 64 | 256) => ({
  ...tinyNemotronH(dims),
  expert_feed_forward_length: dims,
  expert_shared_feed_forward_length: 2 * dims,
  expert_shared_count: 1,
  expert_count: 8,
  expert_used_count: 3,
  expert_weights_norm: true,
  expert_weights_scale: 2.5,
});
const optionalTensors = ["ssm_conv1d.bias"];

export const nemotronHMoe = defineArchitecture({
  name: "nemotron_h_moe",
  families: "Nemotron 3 Nano 31B-A3.5B, Super 120B-A12B, Puzzle 75B-A9B",
  config(m) {
    const common = nemotronHConfig(m);
    const experts = m.uint("expert_count", { max: 4096 });
    const used = m.uints("expert_used_count", common.layers, { min: 0, max: Math.min(experts, 64) });
    const expertWidths = m.uints("expert_feed_forward_length", common.layers, { min: 0, max: 2 ** 22 });
    for (const [i, width] of common.widths.entries())
      if (width > 0 && !(used[i]! > 0 && expertWidths[i]! > 0))
        m.fault(`layer ${i} has ${used[i]} experts of ${expertWidths[i]} values`);
    const [topK, expertHidden] = [Math.max(...used), Math.max(...expertWidths)];
    const latent = m.uint("moe_latent_size", { min: 0, max: 2 ** 18, default: 0 });
    const router = routerConfig(m, { expertHidden }, { score: "sigmoid" });
    return { ...common, ...router, experts, topK, expertHidden, used, expertWidths, latent };
  },
  begin: (f, c) => embedTokens(f, c),
  layer(c, i) {
    const own = { topK: c.used[i]!, expertHidden: c.expertWidths[i]! };
    return nemotronHLayer(c, i, plainMoe({ ...c, ...own, act: "relu2", selectionBias: "exp_probs_b.bias" }));
  },
  end: (f, x, c) => tokenHead(f, x, c),
  mechanisms: [...stateSpaceMechanisms, "state-norm", "unit-norm", "router-norm", "selection-bias", "shared-expert"],
  tiny: [
    { variant: "moe", metadata: tiny, shallow, optionalTensors },
    {
      variant: "latent",
      metadata: (dims) => ({ ...tiny(dims), moe_latent_size: dims / 2 }),
      shallow,
      optionalTensors,
    },
    {
      variant: "puzzle",
      metadata: (dims) => ({
        ...tiny(dims),
        expert_used_count: [0, 3, 0, 2, 0],
        expert_feed_forward_length: [0, dims, 0, 2 * dims, 0],
      }),
      shallow,
      optionalTensors,
    },
  ],
});
