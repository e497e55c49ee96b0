/**
 * Metadata of every family as a damaged or hostile file has it: an error with a code, never one of ours, never a
 * hang.
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { openCheckpoint } from "../containers/index.js";
import { HundredweightError } from "../errors.js";
import { type Checkpoint, TypedMetadata, type TypedValue } from "../formats/index.js";
import { makeTinyModel } from "../synth/tiny.js";
import { architectures, describeModel } from "./index.js";

const folder = mkdtempSync(join(tmpdir(), "hundredweight-hostile-"));
after(() => rmSync(folder, { recursive: true, force: true }));

const u32 = (value: number): TypedValue => ({ type: "u32", value });
const array = (...values: number[]): TypedValue => ({ type: "array", element: "u32", value: Uint32Array.from(values) });

/** Refused wherever a file has the key. */
const refused: Readonly<Record<string, readonly TypedValue[]>> = {
  block_count: [u32(0), u32(1e9), array(1, 2)],
  context_length: [u32(0)],
  embedding_length: [u32(0), u32(2 ** 30)],
  "attention.head_count": [u32(0), u32(1e6), array()],
  // Neither divides the heads of a tiny model.
  "attention.head_count_kv": [u32(5), array(5, 5, 5, 5, 5, 5, 5, 5, 5), array()],
  "attention.key_length": [u32(0), u32(1e6)],
  "attention.sliding_window_pattern": [array(1), array()],
  "attention.layer_norm_rms_epsilon": [{ type: "f32", value: Number.NaN }],
  "attention.layer_norm_epsilon": [{ type: "f32", value: -1 }],
  "rope.dimension_count": [u32(7), u32(4096)],
  expert_used_count: [u32(0), u32(129)],
  expert_group_count: [u32(3), u32(1e6)],
  expert_group_used_count: [u32(0), u32(5), u32(1)],
  expert_gating_func: [u32(9)],
  leading_dense_block_count: [u32(1e6)],
  nextn_predict_layers: [u32(1e6)],
  "attention.shared_kv_layers": [u32(1e6)],
  "attention.kv_lora_rank": [u32(0), u32(1e6)],
  "attention.q_lora_rank": [u32(1e6)],
  // No wider than what is rotated of it.
  "attention.key_length_mla": [u32(0), u32(32), u32(1e6)],
  "attention.value_length_mla": [u32(0), u32(1e6)],
  "attention.indexer.head_count": [u32(0), u32(1e6)],
  "attention.indexer.key_length": [u32(0), u32(16), u32(1e6)],
  "attention.indexer.top_k": [u32(0), u32(1e6)],
  "attention.indexer.types": [u32(0), array(1), array(0, 1, 1, 1), array(1, 2, 1, 1)],
  swiglu_clamp_exp: [array(1)],
  "xielu.eps": [array(1)],
  "ssm.conv_kernel": [u32(0), u32(1), u32(1e6)],
  "ssm.inner_size": [u32(0), u32(7), u32(2 ** 31)],
  "ssm.state_size": [u32(0), u32(1e6)],
  // Neither divides the heads of a tiny model, or is divided by its groups.
  "ssm.group_count": [u32(0), u32(3), u32(1e6)],
  "ssm.time_step_rank": [u32(0), u32(7), u32(1e6)],
  "shortconv.l_cache": [u32(0), u32(1), u32(1e6)],
  "attention.recurrent_layers": [array(1), array()],
  full_attention_interval: [u32(0)],
  "rope.dimension_sections": [array(), array(1, 1, 1, 5), array(0, 0, 0, 8), u32(8)],
  "kda.head_dim": [u32(0), u32(1e6)],
  "kda.gate_lower_bound": [u32(0), { type: "f32", value: 1 }],
  "kda.safe_gate": [{ type: "bool", value: false }],
  moe_latent_size: [u32(2 ** 30)],
  "attention.output_group_count": [u32(0), u32(3), u32(1e6)],
  "attention.output_lora_rank": [u32(0), u32(1e6)],
  // Blocks of other sizes than there are, and fewer sizes than layers.
  "attention.compress_ratios": [array(7, 7, 7, 7), array(4), array(), u32(7), u32(1e6)],
  "attention.compress_rope_freq_base": [u32(0), { type: "f32", value: -1 }],
  "hyper_connection.count": [u32(0), u32(1), u32(17)],
  "hyper_connection.sinkhorn_iterations": [u32(0), u32(1e6)],
  "hyper_connection.epsilon": [
    { type: "f32", value: 0 },
    { type: "f32", value: Number.NaN },
  ],
  hash_layer_count: [u32(1e6)],
  "hyper_connection.low_rank": [u32(0), u32(1e6)],
  // Of several layers, of one that is not there, and of one with attention.
  "ple.layers": [array(0, 1), array(99), array(1)],
  "ple.ngram_size": [u32(0), u32(1), u32(9)],
  "ple.heads_per_ngram": [u32(0), u32(1e6), u32(64)],
  "ple.conv_kernel": [u32(0), u32(1), u32(1e6)],
  "ple.layer_multipliers": [array(1), array(), u32(3)],
  "ple.head_offsets": [array(0), array(0, 0, 0, 2 ** 31)],
  "ple.head_vocab_sizes": [array(9), array(0, 1, 1, 1), array(2 ** 31, 1, 1, 1)],
};

/** Put in the place of every key: taken, or refused with a code. */
const anything: readonly TypedValue[] = [
  u32(0),
  u32(2 ** 31),
  array(1),
  { type: "string", value: "x" },
  { type: "f32", value: Number.POSITIVE_INFINITY },
  { type: "bool", value: true },
];
const codes = ["MODEL_INVALID", "FORMAT_UNSUPPORTED", "TOKENIZER_INVALID"];

/** The code with which the model is refused; undefined when it is taken. */
function refusal(checkpoint: Checkpoint, key: string, value: TypedValue): string | undefined {
  const values = new Map((checkpoint.metadata as TypedMetadata).entries());
  values.set(key, value);
  try {
    describeModel({ ...checkpoint, metadata: new TypedMetadata(values, checkpoint.path) });
    return undefined;
  } catch (error) {
    assert.ok(error instanceof HundredweightError, `${key} = ${JSON.stringify(value)}: ${error}`);
    assert.ok(codes.includes(error.code), `${key} = ${JSON.stringify(value)}: ${error.code}: ${error.message}`);
    return error.code;
  }
}

for (const { name, tiny } of architectures)
  test(`${name}: hostile metadata is refused with a code`, async () => {
    const path = join(folder, `${name}.gguf`);
    await makeTinyModel(path, name, { variant: tiny.at(-1)!.variant });
    const checkpoint = await openCheckpoint(path);
    const keys = [...(checkpoint.metadata as TypedMetadata).entries()].map(([key]) => key);
    for (const key of keys.filter((key) => key.startsWith(`${name}.`) || key.startsWith("xielu."))) {
      for (const value of anything) refusal(checkpoint, key, value);
      const local = key.replace(`${name}.`, "");
      for (const value of refused[local] ?? []) {
        assert.equal(refusal(checkpoint, key, value), "MODEL_INVALID", `${key} = ${JSON.stringify(value)} is taken`);
      }
    }
  });
