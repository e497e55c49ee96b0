/** Every supported architecture. Adding one is a file in arch/ and a line here. */
import { HundredweightError } from "../errors.js";
import { afmoe } from "./arch/afmoe.js";
import { apertus } from "./arch/apertus.js";
import { bailingmoe2 } from "./arch/bailingmoe2.js";
import { bailingmoe3 } from "./arch/bailingmoe3.js";
import { bert } from "./arch/bert.js";
import { cohere2 } from "./arch/cohere2.js";
import { cohere2moe } from "./arch/cohere2moe.js";
import { commandR } from "./arch/command-r.js";
import { deepseek2 } from "./arch/deepseek2.js";
import { deepseek4 } from "./arch/deepseek4.js";
import { deepseek32 } from "./arch/deepseek32.js";
import { dots1 } from "./arch/dots1.js";
import { ernie45 } from "./arch/ernie4-5.js";
import { ernie45Moe } from "./arch/ernie4-5-moe.js";
import { eurobert } from "./arch/eurobert.js";
import { exaoneMoe } from "./arch/exaone-moe.js";
import { exaone4 } from "./arch/exaone4.js";
import { falcon } from "./arch/falcon.js";
import { falconH1 } from "./arch/falcon-h1.js";
import { gemma } from "./arch/gemma.js";
import { gemmaEmbedding } from "./arch/gemma-embedding.js";
import { gemma2 } from "./arch/gemma2.js";
import { gemma3 } from "./arch/gemma3.js";
import { gemma3n } from "./arch/gemma3n.js";
import { gemma4 } from "./arch/gemma4.js";
import { glmDsa } from "./arch/glm-dsa.js";
import { glm4 } from "./arch/glm4.js";
import { glm4moe } from "./arch/glm4moe.js";
import { gptOss } from "./arch/gpt-oss.js";
import { gpt2 } from "./arch/gpt2.js";
import { gptneox } from "./arch/gptneox.js";
import { granite } from "./arch/granite.js";
import { graniteSwa } from "./arch/granite-swa.js";
import { graniteHybrid } from "./arch/granitehybrid.js";
import { graniteMoe } from "./arch/granitemoe.js";
import { hunyuanDense } from "./arch/hunyuan-dense.js";
import { hunyuanMoe } from "./arch/hunyuan-moe.js";
import { hyV3 } from "./arch/hy-v3.js";
import { internlm2 } from "./arch/internlm2.js";
import { jamba } from "./arch/jamba.js";
import { jinaBertV2, jinaBertV3 } from "./arch/jina-bert.js";
import { kimiLinear } from "./arch/kimi-linear.js";
import { lfm2 } from "./arch/lfm2.js";
import { lfm2moe } from "./arch/lfm2moe.js";
import { llama } from "./arch/llama.js";
import { llama4 } from "./arch/llama4.js";
import { mamba2 } from "./arch/mamba2.js";
import { mimo2 } from "./arch/mimo2.js";
import { minicpm } from "./arch/minicpm.js";
import { minimaxM2 } from "./arch/minimax-m2.js";
import { mistral3 } from "./arch/mistral3.js";
import { mistral4 } from "./arch/mistral4.js";
import { modernBert } from "./arch/modern-bert.js";
import { nemotron } from "./arch/nemotron.js";
import { nemotronH } from "./arch/nemotron-h.js";
import { nemotronHMoe } from "./arch/nemotron-h-moe.js";
import { neoBert } from "./arch/neo-bert.js";
import { nomicBert, nomicBertMoe } from "./arch/nomic-bert.js";
import { olmo2 } from "./arch/olmo2.js";
import { olmoe } from "./arch/olmoe.js";
import { phi2 } from "./arch/phi2.js";
import { phi3 } from "./arch/phi3.js";
import { qwen2 } from "./arch/qwen2.js";
import { qwen2moe } from "./arch/qwen2moe.js";
import { qwen3 } from "./arch/qwen3.js";
import { qwen3moe } from "./arch/qwen3moe.js";
import { qwen3next } from "./arch/qwen3next.js";
import { qwen4exp } from "./arch/qwen4exp.js";
import { qwen35 } from "./arch/qwen35.js";
import { qwen35moe } from "./arch/qwen35moe.js";
import { seedOss } from "./arch/seed-oss.js";
import { smollm3 } from "./arch/smollm3.js";
import { stablelm } from "./arch/stablelm.js";
import { starcoder2 } from "./arch/starcoder2.js";
import { step35 } from "./arch/step35.js";
import type { Declaration } from "./flow/architecture.js";

/** They make text. */
export const decoders: readonly Declaration[] = [
  llama,
  qwen2,
  qwen3,
  qwen3moe,
  gemma3,
  gptOss,
  gemma,
  gemma2,
  glm4,
  glm4moe,
  granite,
  graniteMoe,
  graniteSwa,
  smollm3,
  seedOss,
  olmo2,
  olmoe,
  qwen2moe,
  minimaxM2,
  hunyuanDense,
  hunyuanMoe,
  hyV3,
  ernie45,
  ernie45Moe,
  cohere2,
  cohere2moe,
  exaone4,
  exaoneMoe,
  dots1,
  afmoe,
  internlm2,
  minicpm,
  nemotron,
  starcoder2,
  phi2,
  falcon,
  gptneox,
  commandR,
  stablelm,
  mistral3,
  llama4,
  phi3,
  mimo2,
  bailingmoe2,
  step35,
  apertus,
  gemma3n,
  gemma4,
  qwen3next,
  qwen35,
  qwen35moe,
  lfm2,
  lfm2moe,
  mamba2,
  nemotronH,
  nemotronHMoe,
  graniteHybrid,
  falconH1,
  jamba,
  gpt2,
  deepseek2,
  mistral4,
  deepseek32,
  glmDsa,
  kimiLinear,
  bailingmoe3,
  deepseek4,
  qwen4exp,
];

/** They make vectors or scores. */
export const encoders: readonly Declaration[] = [
  bert,
  nomicBert,
  nomicBertMoe,
  jinaBertV2,
  jinaBertV3,
  modernBert,
  neoBert,
  eurobert,
  gemmaEmbedding,
];

export const architectures: readonly Declaration[] = [...decoders, ...encoders];

/** @throws ARCHITECTURE_UNKNOWN */
export function findArchitecture(name: string): Declaration {
  const found = architectures.find((a) => a.name === name);
  if (found !== undefined) return found;
  const known = architectures.map((a) => a.name).join(", ");
  throw new HundredweightError(
    "ARCHITECTURE_UNKNOWN",
    `architecture '${name.slice(0, 100)}' is not supported; supported are ${known}`,
    { name },
  );
}
