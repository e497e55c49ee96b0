import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { dtypeByName, type TensorInfo, TypedMetadata, type TypedValue } from "../formats/index.js";
import { parseMix } from "./mix.js";
import { mixModelOf, needsImportance, parseType, planTypes, type TypeWishes } from "./type-plan.js";

const type = (name: string) => dtypeByName(name)!;
const info = (name: string, shape: readonly number[], dtype = "F16"): TensorInfo => ({
  name,
  layout: type(dtype),
  shape,
  planes: { blocks: [{ file: "model.gguf", offset: 0, bytes: 0 }] },
});
const layers = 16;
const model = { layers, heads: 32, kvHeads: 8, experts: 0 };
const tensors = [
  info("token_embd.weight", [1024, 4096]),
  info("output_norm.weight", [1024], "F32"),
  info("output.weight", [1024, 4096]),
  ...Array.from({ length: layers }, (_, i) => [
    info(`blk.${i}.attn_norm.weight`, [1024], "F32"),
    ...["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"].map((part) =>
      info(`blk.${i}.${part}.weight`, [1024, 1024]),
    ),
  ]).flat(),
];
const planned = (wishes: Partial<TypeWishes> & { mix: TypeWishes["mix"] }, over: Partial<typeof model> = {}) =>
  new Map(planTypes(wishes, { ...model, ...over }, tensors).map((t) => [t.tensor.name, t.to.name]));

describe("types of a plan", () => {
  test("the rules hold, norms stay, and the words of the user come before the rules", () => {
    const plain = planned({ mix: "Q4_K_M" });
    assert.equal(plain.get("output_norm.weight"), "F32");
    assert.equal(plain.get("output.weight"), "Q6_K");
    assert.equal(plain.get("blk.0.attn_v.weight"), "Q6_K");
    assert.equal(plain.get("blk.3.attn_v.weight"), "Q4_K");
    const said = planned({
      mix: "Q4_K_M",
      output: type("Q8_0"),
      embedding: type("Q5_K"),
      named: [
        { pattern: /blk\.[0-3]\.ffn_down/, dtype: type("IQ4_XS") },
        { pattern: /ffn_down/, dtype: type("Q2_K") },
      ],
    });
    assert.equal(said.get("output.weight"), "Q8_0");
    assert.equal(said.get("token_embd.weight"), "Q5_K");
    assert.equal(said.get("blk.3.ffn_down.weight"), "IQ4_XS");
    assert.equal(said.get("blk.15.ffn_down.weight"), "Q2_K");
    assert.equal(planned({ mix: "Q4_K_M", keepOutput: true }).get("output.weight"), "F16");
  });

  test("tensors that are named do not move the counters of the rules on", () => {
    // Values of the first four layers get five bits in Q4_K_S: those that are named do not count among them.
    const named = [{ pattern: /blk\.[01]\.attn_v/, dtype: type("Q8_0") }];
    const values = (wishes: Partial<TypeWishes>) => {
      const found = planned({ mix: "Q4_K_S", ...wishes });
      return Array.from({ length: 8 }, (_, i) => found.get(`blk.${i}.attn_v.weight`));
    };
    assert.deepEqual(values({}), [...Array(4).fill("Q5_K"), ...Array(4).fill("Q4_K")]);
    assert.deepEqual(values({ named }), ["Q8_0", "Q8_0", ...Array(4).fill("Q5_K"), "Q4_K", "Q4_K"]);
  });

  test("importance changes what the rules say", () => {
    const down = (mix: string, weighed: boolean, layer = 0) =>
      planned({ mix: parseMix(mix), weighed }).get(`blk.${layer}.ffn_down.weight`);
    assert.deepEqual([down("Q4_0", false), down("Q4_0", true), down("Q4_0", true, 2)], ["Q4_0", "Q4_1", "Q4_0"]);
    assert.deepEqual([down("Q5_0", false), down("Q5_0", true)], ["Q5_0", "Q5_1"]);
    assert.deepEqual([down("IQ4_XS", false), down("IQ4_XS", true)], ["Q5_K", "IQ4_XS"]);
    assert.deepEqual([down("IQ3_XXS", false), down("IQ3_XXS", true)], ["Q4_K", "IQ3_XXS"]);
    const value = (weighed: boolean) =>
      planned({ mix: "IQ3_XXS", weighed }, { kvHeads: 32 }).get("blk.9.attn_v.weight");
    assert.deepEqual([value(false), value(true)], ["IQ3_S", "IQ3_XXS"]);
  });

  test("pure is one type, but for what is named and what does not fit", () => {
    const found = planned({ mix: "Q4_K_M", pure: true, named: [{ pattern: /attn_q/, dtype: type("Q6_K") }] });
    assert.equal(found.get("output.weight"), "Q4_K");
    assert.equal(found.get("blk.0.attn_v.weight"), "Q4_K");
    assert.equal(found.get("blk.0.attn_q.weight"), "Q6_K");
    const [odd] = planTypes({ mix: "Q4_K_M" }, model, [info("blk.0.attn_q.weight", [1056, 64])]);
    assert.deepEqual([odd!.to.name, odd!.unfit?.name], ["Q5_0", "Q4_K"]);
    assert.throws(
      () => planTypes({ mix: "Q4_K_M", output: type("Q4_K") }, model, [info("output.weight", [1056, 64])]),
      { code: "OPTION_INVALID" },
    );
  });

  test("which tensors are of no use without importance", () => {
    assert.equal(needsImportance("blk.0.attn_q.weight", type("IQ2_XS"), "IQ2_XS"), true);
    assert.equal(needsImportance("token_embd.weight", type("IQ2_XS"), "IQ2_XS"), false);
    assert.equal(needsImportance("blk.0.attn_q.weight", type("Q2_K"), "Q2_K"), false);
    assert.equal(needsImportance("blk.0.attn_q.weight", type("Q2_K"), "Q2_K_S"), true);
    assert.throws(() => parseType("Q8_K", "--tensor-type"), { code: "OPTION_INVALID" });
    assert.throws(() => parseType("I32", "--tensor-type"), { code: "OPTION_INVALID" });
  });

  test("heads and experts come from the metadata, of the first layer where each has its own", () => {
    const metadata = new Map<string, TypedValue>([
      ["general.architecture", { type: "string", value: "llama" }],
      ["llama.block_count", { type: "u32", value: 4 }],
      ["llama.attention.head_count", { type: "array", element: "u32", value: Uint32Array.of(8, 16, 16, 16) }],
      ["llama.expert_count", { type: "u32", value: 8 }],
    ]);
    assert.deepEqual(mixModelOf(new TypedMetadata(metadata)), {
      layers: 4,
      heads: 8,
      kvHeads: 8,
      experts: 8,
      falcon: false,
    });
  });
});
