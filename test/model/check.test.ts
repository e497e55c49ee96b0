/** Numbers that go wrong are named: layer, verb, tensor and what probably made them so. And looking changes no bit. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { openCheckpoint } from "../../src/containers/index.js";
import { HundredweightError } from "../../src/errors.js";
import { EngineClient } from "../../src/link/client.js";
import { addonStatus } from "../../src/native/addon.js";
import { makeTinyModel } from "../../src/synth/tiny.js";
import { randomTokens } from "../support/evaluate.js";

const folder = mkdtempSync(join(tmpdir(), "hundredweight-check-"));
after(() => rmSync(folder, { recursive: true, force: true }));
const kinds = addonStatus().state === "loaded" ? (["native", "reference"] as const) : (["reference"] as const);

/** Logits of the last token. */
async function score(path: string, check: boolean, ops: "native" | "reference"): Promise<Float32Array> {
  const client = await EngineClient.open(path, { contextTokens: 128, check, ops });
  try {
    const tokens = Int32Array.from(randomTokens(20, 300));
    let row: Float32Array = new Float32Array();
    await client.submit({ kind: "score", tokens, from: 19, output: "logits" }, (event) => {
      if (event.kind === "logits") row = event.values;
    }).result;
    return row;
  } finally {
    await client.close();
  }
}

/** A tiny model with so many bytes changed at a place of a tensor. */
async function damaged(
  name: string,
  arch: string,
  variant: string,
  dtype: string,
  tensor: string,
  change: (bytes: Buffer, offset: number, shape: readonly number[]) => void,
): Promise<string> {
  const path = join(folder, `${name}.gguf`);
  await makeTinyModel(path, arch, { variant, dtype });
  const { planes, shape } = (await openCheckpoint(path)).tensors.get(tensor)!;
  const bytes = readFileSync(path);
  change(bytes, planes.blocks![0]!.offset, shape);
  writeFileSync(path, bytes);
  return path;
}

async function named(path: string, ...parts: RegExp[]): Promise<void> {
  for (const ops of kinds)
    await assert.rejects(score(path, true, ops), (error: unknown) => {
      assert.ok(error instanceof HundredweightError && error.code === "MODEL_INVALID", String(error));
      for (const part of parts) assert.match(error.message, part, ops);
      return true;
    });
}

test("looking at everything changes no bit", async () => {
  for (const [arch, variant] of [
    ["llama", "dense"],
    ["qwen3moe", "moe"],
    ["gemma3", "dense"],
  ] as const) {
    const path = join(folder, "plain.gguf");
    await makeTinyModel(path, arch, { dtype: "Q8_0", variant });
    for (const ops of kinds) assert.deepEqual(await score(path, true, ops), await score(path, false, ops), arch);
  }
});

test("a scale that is not finite", async () => {
  // Row 3 of 64: two blocks of 34 bytes a row.
  const path = await damaged("scale", "llama", "dense", "Q8_0", "blk.1.ffn_up.weight", (bytes, offset) =>
    bytes.writeUInt16LE(0x7e00, offset + 34 * (2 * 3 + 1)),
  );
  await named(
    path,
    /^layer 1: linear with 'blk\.1\.ffn_up\.weight' gave NaN/,
    /column 3/,
    /row 3 of the tensor has NaN/,
  );
});

test("inputs beyond what 8-bit numbers with a half as scale hold", { skip: kinds.length < 2 }, async () => {
  const path = await damaged("large", "llama", "dense", "Q8_0", "blk.1.ffn_norm.weight", (bytes, offset, shape) => {
    for (let i = 0; i < shape[0]!; i++) bytes.writeFloatLE(1e8, offset + 4 * i);
  });
  await assert.rejects(score(path, true, "native"), (error: unknown) => {
    assert.ok(error instanceof HundredweightError && error.code === "MODEL_INVALID", String(error));
    assert.match(error.message, /^layer 1: linear with 'blk\.1\.ffn_(up|gate)\.weight' gave (NaN|-?Infinity)/);
    assert.match(error.message, /its inputs reach \d\.\d+e\+8, and with Q8_0 .* reach 8\.32e\+6/);
    return true;
  });
  await score(path, true, "reference");
});

test("a product that overflows", async () => {
  const path = await damaged(
    "overflow",
    "llama",
    "dense",
    "F32",
    "blk.2.attn_output.weight",
    (bytes, offset, [cols]) => {
      for (let i = 0; i < cols!; i++) bytes.writeFloatLE(3e38 * (i % 2 === 0 ? 1 : 0.9), offset + 4 * (7 * cols! + i));
    },
  );
  await named(path, /^layer 2: linear with 'blk\.2\.attn_output\.weight'/, /column 7/, /beyond what 32 bits hold/);
});

test("a NaN in a router, in an expert, in a norm, in the embedding, in the head", async () => {
  const nan = (at: number) => (bytes: Buffer, offset: number) => bytes.writeFloatLE(Number.NaN, offset + 4 * at);
  const make = (tensor: string, at: number) => damaged("nan", "qwen3moe", "moe", "F32", tensor, nan(at));
  await named(
    await make("blk.1.ffn_gate_inp.weight", 5),
    /^layer 1: linear with 'blk\.1\.ffn_gate_inp\.weight' gave NaN/,
  );
  // Every expert's down matrix is used by some row of the prompt.
  const expert = (bytes: Buffer, offset: number, shape: readonly number[]) => {
    const [cols, rows, experts] = shape as [number, number, number];
    for (let e = 0; e < experts; e++) bytes.writeFloatLE(Number.NaN, offset + 4 * (e * cols * rows + 9 * cols + 2));
  };
  const experts = await damaged("experts", "qwen3moe", "moe", "F32", "blk.0.ffn_down_exps.weight", expert);
  await named(
    experts,
    /^layer 0: experts with 'blk\.0\.ffn_down_exps\.weight'/,
    /column 9/,
    /expert \d+, row 9 .*NaN at value 2/,
  );
  await named(
    await make("blk.2.attn_norm.weight", 11),
    /^layer 2: norm with 'blk\.2\.attn_norm\.weight'/,
    /value 11 is/,
  );
  await named(await make("output_norm.weight", 1), /^the end: norm with 'output_norm\.weight'/);
});

test("keys that the cache cannot hold", async () => {
  const path = await damaged("keys", "llama", "dense", "F32", "blk.0.attn_v.weight", (bytes, offset, [cols]) => {
    for (let i = 0; i < cols!; i++) bytes.writeFloatLE(2e5 * (i % 3), offset + 4 * i);
  });
  await named(path, /^layer 0: keep gave/, /larger than the cache's type holds/);
});

test("without looking the logits are still refused", async () => {
  const path = await damaged("logits", "llama", "dense", "F32", "output.weight", (bytes, offset, [cols]) =>
    bytes.writeFloatLE(Number.POSITIVE_INFINITY, offset + 4 * 17 * cols!),
  );
  const client = await EngineClient.open(path, { contextTokens: 128 });
  try {
    const tokens = Int32Array.from(randomTokens(5, 300));
    const request = { kind: "score", tokens, from: 0, output: "logprobs" } as const;
    await assert.rejects(client.submit(request).result, { code: "MODEL_INVALID" });
    const embed = { kind: "embed", prompt: { kind: "tokens", tokens } } as const;
    assert.equal((await client.submit(embed).result).tokens, 5, "vectors do not pass the head");
  } finally {
    await client.close();
  }
  const norm = await damaged("vector", "llama", "dense", "F32", "output_norm.weight", (bytes, offset) =>
    bytes.writeFloatLE(Number.NaN, offset),
  );
  const other = await EngineClient.open(norm, { contextTokens: 128 });
  try {
    const embed = { kind: "embed", prompt: { kind: "tokens", tokens: Int32Array.of(1, 2) } } as const;
    await assert.rejects(other.submit(embed).result, { code: "MODEL_INVALID" });
  } finally {
    await other.close();
  }
});

test("a table of experts that names one that is not there, or one twice", async () => {
  const table = "blk.0.ffn_gate_tid2eid.weight";
  const make = (id: number) =>
    damaged(`table${id}`, "deepseek4", "flash", "F32", table, (bytes, offset, [cols, rows]) => {
      for (let row = 0; row < rows!; row++) bytes.writeInt32LE(id, offset + 4 * (row * cols! + 1));
    });
  for (const id of [8, -1, 2 ** 30]) await named(await make(id), /the table 'blk\.0\.ffn_gate_tid2eid\.weight' names/);
  // Some rows have this one already.
  await named(await make(3), /or one twice for the same token/);
});
