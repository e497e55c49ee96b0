/** Tests that what is wrong with an adapter, or more than pairs, is said by its name. */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { openAdapter, openCheckpoint } from "../../src/containers/index.js";
import type { ErrorCode } from "../../src/errors.js";
import type { Checkpoint } from "../../src/formats/types.js";
import { describeModel, withAdapters } from "../../src/models/index.js";
import { readFixture, writeFolder } from "../huggingface/folder.js";
import { writeRandomModel } from "../support/random-model.js";
import { type GgufPair, peftEntries, readAdapterFixture, writeGgufAdapter, writePeft } from "./fixture.js";

describe("adapters that are refused", () => {
  const fixture = readAdapterFixture("llama");
  let folder = "";
  let base: Checkpoint;
  let number = 0;
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), "hundredweight-refused-"));
    base = await openCheckpoint(writeFolder(join(folder, "base"), readFixture("llama")));
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  const next = (): string => join(folder, String(++number));
  const refused = (path: string, code: ErrorCode, message: RegExp, model = base): void => {
    assert.throws(() => withAdapters(describeModel(model), [openAdapter(path, model)]), { code, message }, path);
  };

  test("settings of PEFT, each by its name", () => {
    const cases: [object, ErrorCode, RegExp][] = [
      [{ peft_type: "IA3" }, "ADAPTER_UNSUPPORTED", /peft_type is 'IA3'/],
      [{ use_dora: true }, "ADAPTER_UNSUPPORTED", /'use_dora'/],
      [{ bias: "all" }, "ADAPTER_UNSUPPORTED", /'bias' is 'all'/],
      [{ lora_bias: true }, "ADAPTER_UNSUPPORTED", /'lora_bias'/],
      [{ modules_to_save: ["lm_head"] }, "ADAPTER_UNSUPPORTED", /'modules_to_save' is \["lm_head"\]/],
      [{ trainable_token_indices: [1] }, "ADAPTER_UNSUPPORTED", /'trainable_token_indices'/],
      [{ alora_invocation_tokens: [1] }, "ADAPTER_UNSUPPORTED", /'alora_invocation_tokens'/],
      [{ target_parameters: "experts.down_proj" }, "ADAPTER_INVALID", /'target_parameters' is/],
      [{ layer_replication: [[0, 1]] }, "ADAPTER_UNSUPPORTED", /'layer_replication'/],
      [{ init_lora_weights: "pissa_niter_4" }, "ADAPTER_UNSUPPORTED", /'init_lora_weights' is 'pissa_niter_4'/],
      [{ rank_pattern: { "(a+)+$": 4 } }, "ADAPTER_UNSUPPORTED", /'rank_pattern' has the pattern/],
      [{ r: 8 }, "ADAPTER_INVALID", /has rank 8, and the pair has 4/],
      [{ rank_pattern: { q_proj: 2 } }, "ADAPTER_INVALID", /q_proj' has rank 2, and the pair has 4/],
      [{ lora_alpha: 0 }, "ADAPTER_INVALID", /'lora_alpha' is 0/],
      [{ r: "4" }, "ADAPTER_INVALID", /'r' is 4/],
    ];
    for (const [config, code, message] of cases) refused(writePeft(next(), fixture, "a", { config }), code, message);
  });

  test("tensors of PEFT that are no halves of pairs, or of nothing", () => {
    const entries = peftEntries(fixture, "a");
    const [name] = entries.map((entry) => entry.name).filter((own) => own.endsWith("q_proj.lora_A.weight"));
    const renamed = (to: string) => entries.map((entry) => (entry.name === name ? { ...entry, name: to } : entry));
    const cases: [readonly (typeof entries)[number][], ErrorCode, RegExp][] = [
      [renamed(name!.replace("lora_A.weight", "lora_magnitude_vector")), "ADAPTER_UNSUPPORTED", /magnitude_vector/],
      [renamed("base_model.model.lm_head.weight"), "ADAPTER_UNSUPPORTED", /lm_head.weight' whole/],
      [entries.filter((entry) => entry.name !== name), "ADAPTER_INVALID", /only one half of the pair of .*q_proj/],
      [entries.map((e) => ({ ...e, name: e.name.replace("q_proj", "qq_proj") })), "ADAPTER_UNSUPPORTED", /qq_proj/],
      [entries.map((e) => ({ ...e, name: e.name.replace("layers.1", "layers.7") })), "ADAPTER_MISFIT", /blk\.7\./],
      [
        entries.map((e) => (e.name === name ? { ...e, shape: [...e.shape].reverse() } : e)),
        "ADAPTER_MISFIT",
        /attn_q.weight' of 64 x 64 cannot have the pair/,
      ],
      [[], "ADAPTER_INVALID", /has no tensors/],
    ];
    for (const [own, code, message] of cases) refused(writePeft(next(), fixture, "a", { entries: own }), code, message);
    // A copy of the base beside the pair changes nothing.
    const copy = { ...entries[0]!, name: "base_model.model.lm_head.base_layer.weight" };
    const path = writePeft(next(), fixture, "a", { entries: [...entries, copy] });
    assert.equal(openAdapter(path, base).pairs.size, entries.length / 2);
  });

  test("folders and files that are none", async () => {
    const empty = next();
    mkdirSync(empty);
    refused(empty, "ADAPTER_INVALID", /has no adapter_config.json/);
    refused(join(folder, "nothing"), "FILE_NOT_FOUND", /no such adapter/);
    const pickled = next();
    mkdirSync(pickled);
    writeFileSync(join(pickled, "adapter_config.json"), JSON.stringify(fixture.adapters.a.config));
    writeFileSync(join(pickled, "adapter_model.bin"), "");
    refused(pickled, "ADAPTER_UNSUPPORTED", /adapter_model.bin/);
    const model = `${next()}.gguf`;
    await writeRandomModel(model, { arch: "llama", variant: "dense", dims: 64, types: {}, seed: 1 });
    refused(model, "ADAPTER_INVALID", /is no adapter: its general.type is/);
    const garbage = `${next()}.gguf`;
    writeFileSync(garbage, "GGUFgarbage");
    assert.throws(() => openAdapter(garbage, base), /garbage|gguf/i);
  });

  test("GGUF adapters of another model, or more than pairs", async () => {
    const path = `${next()}.gguf`;
    const types = { attention: "F32", ffn: "F32", expert: "F32", embedding: "F32", head: "F32" };
    await writeRandomModel(path, { arch: "llama", variant: "moe", dims: 64, types, seed: 1 });
    const model = await openCheckpoint(path);
    const matrix = (rows: number, cols: number) => ({ rows, cols, values: new Float32Array(rows * cols).fill(0.1) });
    const q = "blk.0.attn_q.weight";
    const [dim, outs] = model.tensors.get(q)!.shape as [number, number];
    const pair = (name: string, rows = outs, cols = dim, ranks = [4, 4]): GgufPair => ({
      name,
      a: matrix(ranks[0]!, cols),
      b: matrix(rows, ranks[1]!),
    });
    const made = (pairs: readonly GgufPair[], arch = "llama", more: Parameters<typeof writeGgufAdapter>[4] = []) =>
      writeGgufAdapter(`${next()}.gguf`, arch, 8, pairs, more);
    const text = (value: string) => ({ type: "string", value }) as const;
    withAdapters(describeModel(model), [openAdapter(await made([pair(q)]), model)]);
    const cases: [string, ErrorCode, RegExp][] = [
      [await made([pair(q)], "qwen2"), "ADAPTER_MISFIT", /is an adapter for 'qwen2', the model is 'llama'/],
      [await made([pair("blk.99.attn_q.weight")]), "ADAPTER_MISFIT", /blk.99.attn_q.weight', which the model does not/],
      [await made([pair(q, 32)]), "ADAPTER_MISFIT", /cannot have the pair/],
      [await made([pair(q, outs, 32)]), "ADAPTER_MISFIT", /cannot have the pair/],
      [await made([pair(q, outs, dim, [4, 5])]), "ADAPTER_INVALID", /has the ranks 4 and 5/],
      [
        await made([pair("blk.0.ffn_down_exps.weight")]),
        "ADAPTER_MISFIT",
        /ffn_down_exps.weight' of 6 x \d+ x \d+ cannot have the pair/,
      ],
      [await made([pair("blk.0.attn_norm.weight")]), "ADAPTER_UNSUPPORTED", /attn_norm.weight', which this model/],
      [await made([pair(q)], "llama", [["adapter.type", text("loha")]]), "ADAPTER_UNSUPPORTED", /of type 'loha'/],
      [
        await made([pair(q)], "llama", [["adapter.alora.invocation_tokens", text("1")]]),
        "ADAPTER_UNSUPPORTED",
        /activated LoRA/,
      ],
    ];
    for (const [adapter, code, message] of cases) refused(adapter, code, message, model);
  });
});
