/** The files that say what a folder is: config.json and tokenizer, of the architectures whose folders are made. */
import { layerNames, modelNames } from "../../containers/huggingface/names.js";
import { HundredweightError } from "../../errors.js";
import type { PackedStrings, TypedValue } from "../../formats/index.js";
import type { SynthShape } from "../shape.js";

/** Architecture -> `model_type`, and the class that transformers has for it. */
const types: Readonly<Record<string, readonly [type: string, name: string]>> = {
  llama: ["llama", "LlamaForCausalLM"],
  qwen2: ["qwen2", "Qwen2ForCausalLM"],
  qwen3: ["qwen3", "Qwen3ForCausalLM"],
  qwen3moe: ["qwen3_moe", "Qwen3MoeForCausalLM"],
};

/** Keys of metadata -> those of config.json. */
const keys: Readonly<Record<string, string>> = {
  block_count: "num_hidden_layers",
  context_length: "max_position_embeddings",
  embedding_length: "hidden_size",
  feed_forward_length: "intermediate_size",
  "attention.head_count": "num_attention_heads",
  "attention.head_count_kv": "num_key_value_heads",
  "attention.key_length": "head_dim",
  "attention.layer_norm_rms_epsilon": "rms_norm_eps",
  "rope.freq_base": "rope_theta",
  expert_count: "num_experts",
  expert_used_count: "num_experts_per_tok",
  expert_feed_forward_length: "moe_intermediate_size",
};

/** @throws OPTION_INVALID for an architecture whose folders are not made */
export function folderConfig(shape: SynthShape, quantization: object | undefined): Record<string, unknown> {
  const { arch, metadata, vocab, tied, ropeDivisors } = shape;
  const [type, name] = types[arch] ?? [];
  if (type === undefined)
    throw new HundredweightError(
      "OPTION_INVALID",
      `folders are made of ${Object.keys(types).join(", ")}; '${arch}' can be written as GGUF only`,
    );
  const scaling =
    ropeDivisors !== undefined && "factor" in ropeDivisors
      ? {
          rope_type: "llama3",
          factor: ropeDivisors.factor,
          low_freq_factor: ropeDivisors.lowFrequency,
          high_freq_factor: ropeDivisors.highFrequency,
          original_max_position_embeddings: ropeDivisors.originalTokens,
        }
      : undefined;
  return {
    architectures: [name],
    model_type: type,
    ...Object.fromEntries(Object.entries(keys).flatMap(([key, to]) => (key in metadata ? [[to, metadata[key]]] : []))),
    vocab_size: vocab,
    tie_word_embeddings: tied,
    hidden_act: "silu",
    torch_dtype: "bfloat16",
    ...(arch === "qwen3moe" && { norm_topk_prob: true }),
    ...(scaling !== undefined && { rope_scaling: scaling }),
    ...(quantization !== undefined && { quantization_config: quantization }),
  };
}

/** GGUF names -> those of modules, where the families above have them. */
const moduleNames = new Map<string, string>();
for (const [module, target] of [...Object.entries(modelNames), ...Object.entries(layerNames)])
  if (typeof target === "string" && !moduleNames.has(target)) moduleNames.set(target, module);

/** The module of a tensor, as `model.layers.3.mlp.experts.E.gate_proj`, E standing for the number of an expert. */
export function moduleOf(name: string): string {
  const [, layer, local] = /^(?:blk\.(\d+)\.)?(.+?)\.(?:weight|bias)$/.exec(name) ?? [];
  const module = moduleNames.get(local ?? "");
  if (module === undefined) throw new HundredweightError("INTERNAL", `'${name}' has no name in a folder`);
  if (layer !== undefined) return `model.layers.${layer}.${module}`;
  return module === "lm_head" ? module : `model.${module}`;
}

const added = (id: number, content: string) => ({
  ...{ id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: true },
});

/** tokenizer.json and tokenizer_config.json of a vocabulary of bytes and merges. */
export function folderTokenizer(
  vocabulary: readonly (readonly [string, TypedValue])[],
): Readonly<Record<string, string>> {
  const values = new Map(vocabulary);
  const texts = (key: string) => (values.get(`tokenizer.ggml.${key}`)!.value as PackedStrings).decode();
  const number = (key: string) => values.get(`tokenizer.ggml.${key}`)!.value as number;
  const tokens = texts("tokens");
  const kinds = values.get("tokenizer.ggml.token_type")!.value as Int32Array;
  const control = 3;
  const controls = tokens.flatMap((text, id) => (kinds[id] === control ? [added(id, text)] : []));
  const plain = tokens.flatMap((text, id) => (kinds[id] === control ? [] : [[text, id] as const]));
  const bytes = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true };
  const json = {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: controls,
    normalizer: null,
    pre_tokenizer: bytes,
    post_processor: null,
    decoder: bytes,
    model: { type: "BPE", byte_fallback: false, vocab: Object.fromEntries(plain), merges: texts("merges") },
  };
  const settings = {
    bos_token: tokens[number("bos_token_id")],
    eos_token: tokens[number("eos_token_id")],
    chat_template: values.get("tokenizer.chat_template")?.value,
  };
  return { "tokenizer.json": JSON.stringify(json), "tokenizer_config.json": JSON.stringify(settings) };
}
