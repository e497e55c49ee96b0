import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { presets } from "../synth/presets.js";
import { layOutSynth } from "../synth/synth.js";
import { type Mix, mixes, mixFileType, mixTypes, parseMix } from "./mix.js";

/** GB of published files; a real vocabulary and header are 6 to 12 MB beside the tensors, and sizes are rounded. */
const header = 0.009;
const tolerance = 0.009;

describe("quantization mixes", () => {
  test("a 70B model has the published size in every mix", () => {
    // bartowski's Llama-3.1-70B files (those where llama-quantize needs no importance matrix to decide)
    const published: Partial<Record<Mix, number>> = {
      Q8_0: 74.98,
      Q6_K: 57.89,
      Q5_K_M: 49.95,
      Q5_K_S: 48.66,
      Q4_K_M: 42.52,
      Q4_K_S: 40.35,
      Q3_K_L: 37.14,
      Q3_K_M: 34.27,
      Q3_K_S: 30.91,
      IQ1_M: 16.75,
      IQ2_XXS: 19.1,
      IQ2_XS: 21.14,
      IQ2_S: 22.24,
      IQ2_M: 24.12,
      IQ3_XS: 29.31,
      IQ3_M: 31.94,
    };
    for (const [mix, size] of Object.entries(published)) {
      const ours = layOutSynth("llama-70b", presets["llama-70b"]!, mix as Mix).tensorBytes / 1e9;
      assert.ok(Math.abs(ours + header - size) < tolerance, `${mix}: ${ours} GB and a header, published ${size}`);
    }
  });

  test("presets have the published sizes and parameter counts", () => {
    const published: Record<string, [parameters: number, gigabytes: number]> = {
      "llama-1b": [1.236, 0.808],
      "llama-3-8b": [8.03, 4.92],
      "qwen2.5-32b": [32.76, 19.85],
      "mistral-large-123b": [122.61, 73.22],
      "qwen3-8b": [8.19, 5.03],
      "qwen3-30b-a3b": [30.53, 18.56],
      "gpt-oss-20b": [20.91, 12.11],
      "gpt-oss-120b": [116.83, 63.39],
    };
    for (const [name, [parameters, gigabytes]] of Object.entries(published)) {
      const model = layOutSynth(name, presets[name]!);
      assert.ok(Math.abs(model.parameters / 1e9 - parameters) < 0.006, `${name}: ${model.parameters}`);
      const size = model.tensorBytes / 1e9 + header;
      assert.ok(Math.abs(size - gigabytes) < tolerance, `${name}: ${size} GB, published ${gigabytes}`);
    }
  });

  const model = { layers: 32, heads: 32, kvHeads: 8, experts: 0 };
  /** Among its like in all layers. */
  const type = (mix: Mix, name: string, layer: number, shape = [4096, 4096], over: Partial<typeof model> = {}) => {
    const changed = { ...model, ...over };
    const all = Array.from({ length: changed.layers }, (_, i) => ({ name: `blk.${i}.${name}.weight`, shape }));
    return mixTypes(mix, changed, [...all, { name: "output.weight", shape }])[layer]!.name;
  };

  test("Q4_K_M: six bits for values and down in the first and last eighth, and every third between", () => {
    const six = [0, 1, 2, 3, 6, 9, 12, 15, 18, 21, 24, 27, 28, 29, 30, 31];
    for (let layer = 0; layer < 32; layer++) {
      const expected = six.includes(layer) ? "Q6_K" : "Q4_K";
      assert.equal(type("Q4_K_M", "attn_v", layer), expected);
      assert.equal(type("Q4_K_M", "ffn_down", layer), expected);
      assert.equal(type("Q4_K_M", "ffn_down_exps", layer, [768, 2048, 128]), expected);
      assert.equal(type("Q4_K_M", "attn_q", layer), "Q4_K");
    }
  });

  test("shapes that are no whole number of blocks fall back", () => {
    const cases: [Mix, number, string][] = [
      ["Q4_K_S", 2880, "Q5_0"],
      ["Q6_K", 2880, "Q8_0"],
      ["Q5_K_S", 2880, "Q5_1"],
      ["Q2_K_S", 2880, "Q4_0"],
      ["IQ4_XS", 2880, "IQ4_NL"],
      ["IQ2_XXS", 2880, "IQ4_NL"],
      ["TQ2_0", 2880, "Q4_0"],
      ["Q8_0", 2884, "F16"],
      ["Q4_K_S", 2884, "F16"],
    ];
    for (const [mix, cols, expected] of cases) assert.equal(type(mix, "attn_q", 8, [cols, 64]), expected);
  });

  test("norms, routers and vectors stay F32; heads get their own type", () => {
    const of = (name: string, shape: number[], mix: Mix = "Q4_K_M") =>
      mixTypes(mix, model, [
        { name, shape },
        ...(name === "output.weight" ? [] : [{ name: "output.weight", shape: [64, 64] }]),
      ])[0]!.name;
    assert.equal(of("blk.0.attn_norm.weight", [4096]), "F32");
    assert.equal(of("blk.0.ffn_gate_inp.weight", [4096, 128]), "F32");
    assert.equal(of("blk.0.ffn_gate_exps.bias", [4096, 128]), "F32");
    assert.equal(of("blk.0.ffn_gate_inp.weight", [4096, 128], "F16"), "F32");
    assert.equal(of("output.weight", [4096, 512]), "Q6_K");
    assert.equal(of("output.weight", [2880, 512]), "Q8_0");
    assert.equal(of("output.weight", [4096, 512], "MXFP4_MOE"), "Q8_0");
    assert.equal(of("output.weight", [4096, 512], "BF16"), "BF16");
    assert.equal(of("token_embd.weight", [4096, 512]), "Q4_K");
    assert.equal(of("blk.0.ffn_up_exps.weight", [2880, 64, 8], "MXFP4_MOE"), "MXFP4");
    assert.equal(of("blk.0.attn_q.weight", [2880, 64], "MXFP4_MOE"), "Q8_0");
  });

  test("what a converter leaves as it is: F32 where llama.cpp reads it so, else sixteen bits", () => {
    const kept = (mix: Mix, name: string, shape = [256, 256]) => mixTypes(mix, model, [{ name, shape }])[0]!.name;
    for (const name of ["blk.1.ssm_conv1d.weight", "blk.1.shortconv.conv.weight", "position_embd.weight"])
      assert.equal(kept("Q4_K_M", name), "F32");
    for (const name of ["blk.1.laurel_l.weight", "per_layer_model_proj.weight", "blk.1.indexer.k_proj.weight"])
      assert.deepEqual([kept("Q4_K_M", name), kept("F16", name), kept("F32", name)], ["BF16", "F16", "F32"]);
    // A table of one column is a vector to llama.cpp.
    assert.equal(kept("Q4_K_M", "blk.1.ffn_up.weight", [256, 1]), "F32");
  });

  test("without a head of its own a model reads its logits off the table, and off that of its layers", () => {
    const tables = ["token_embd.weight", "per_layer_token_embd.weight"].map((name) => ({ name, shape: [256, 512] }));
    const names = (mix: Mix, more: readonly string[] = []) =>
      mixTypes(mix, model, [...tables, ...more.map((name) => ({ name, shape: [256, 512] }))]).map(({ name }) => name);
    assert.deepEqual(names("Q4_K_M"), ["Q6_K", "Q6_K"]);
    assert.deepEqual(names("Q4_K_M", ["output.weight"]), ["Q4_K", "Q4_K", "Q6_K"]);
    assert.deepEqual(names("IQ2_M", ["output.weight"]), ["IQ3_S", "IQ3_S", "Q5_K"]);
  });

  test("values are counted over the layers that have any, matrices of FFNs by their layers", () => {
    // Three layers of fused products to one of keys and values apart, as gated delta nets have it.
    const names = Array.from({ length: 16 }, (_, i) => `blk.${i}.${i % 4 === 3 ? "attn_v" : "attn_qkv"}.weight`);
    const six = (list: readonly string[], over: Partial<typeof model> = {}) => {
      const tensors = list.map((name) => ({ name, shape: [512, 512, 2] }));
      const found = mixTypes("Q4_K_M", { ...model, layers: 16, ...over }, tensors);
      return found.flatMap((dtype, i) => (dtype.name === "Q6_K" ? [i] : []));
    };
    assert.deepEqual(six(names), [0, 1, 4, 7, 10, 13, 14, 15]);
    // Every other layer alone: eight values, of which the first and the last, and every third between.
    assert.deepEqual(six(names.filter((_, i) => i % 2 === 1)), [0, 3, 6, 7]);
    const down = Array.from({ length: 8 }, (_, i) => `blk.${2 * i + 1}.ffn_down_exps.weight`);
    const shared = down.map((name) => name.replace("_exps", "_shexp"));
    assert.deepEqual(six(down, { experts: 16 }), [0, 3, 6, 7]);
    assert.deepEqual(six(shared, { experts: 16 }), [0, 3, 6, 7]);
    assert.deepEqual(six(down), [0, 1, 4, 7]);
  });

  test("eight experts and eighty layers are treated apart", () => {
    const eight = { experts: 8 };
    assert.equal(type("Q4_K_M", "attn_v", 5, undefined, eight), "Q8_0");
    assert.equal(type("Q4_K_M", "attn_k", 5, undefined, eight), "Q8_0");
    assert.equal(type("Q4_K_M", "attn_output", 5, undefined, eight), "Q5_K");
    assert.equal(type("Q4_K_M", "attn_v", 20, undefined, { layers: 80 }), "Q5_K");
    assert.equal(type("Q4_K_M", "attn_v", 20, undefined, { layers: 80, kvHeads: 32 }), "Q4_K");
  });

  test("every mix has a file type number and reads its own name", () => {
    for (const mix of mixes) {
      assert.equal(parseMix(mix.toLowerCase()), mix);
      assert.ok(mixFileType(mix) >= 0);
    }
    assert.equal(parseMix("Q4_K"), "Q4_K_M");
    assert.equal(mixFileType("Q4_K_M"), 15);
    assert.throws(() => parseMix("Q8_K"), { code: "OPTION_INVALID" });
  });
});
