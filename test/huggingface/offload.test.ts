/** Folders that accelerate offloaded a model into: the bits of the safetensors, and what is refused. */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { openCheckpoint } from "../../src/containers/index.js";
import { bestOps } from "../differential/models/compare.js";
import { evaluate, openModel } from "../support/evaluate.js";
import { entriesOf, readFixture, safetensorsBytes, writeFolder } from "./folder.js";

const fixture = readFixture("qwen3");
const types: Readonly<Record<string, string>> = { F32: "float32", BF16: "bfloat16" };

describe("offloaded folders", () => {
  let folder = "";
  before(() => {
    folder = mkdtempSync(join(tmpdir(), "hundredweight-offload-"));
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  type Index = Record<string, Record<string, unknown>>;

  /** @param inShard tensors that stay in a safetensors file, which the index points into */
  function offload(name: string, inShard: RegExp, change: (index: Index) => void = () => {}): string {
    const at = join(folder, name);
    mkdirSync(at);
    const index: Index = {};
    const entries = entriesOf(fixture, "BF16");
    for (const { name: tensor, dtype, shape, bytes } of entries) {
      if (inShard.test(tensor)) {
        index[tensor] = { safetensors_file: join(at, "rest.safetensors"), weight_name: tensor, dtype: "bfloat16" };
        continue;
      }
      index[tensor] = { dtype: types[dtype], shape };
      writeFileSync(join(at, `${tensor}.dat`), bytes);
    }
    const rest = entries.filter((entry) => inShard.test(entry.name));
    if (rest.length > 0) writeFileSync(join(at, "rest.safetensors"), safetensorsBytes(rest));
    change(index);
    writeFileSync(join(at, "index.json"), JSON.stringify(index));
    writeFileSync(join(at, "config.json"), JSON.stringify(fixture.config));
    return at;
  }

  async function logits(path: string): Promise<Float32Array[]> {
    const model = await openModel(path, bestOps());
    try {
      return (await evaluate(model, fixture.ids)).map((row) => row.slice());
    } finally {
      model.close();
    }
  }

  test("a file for each tensor, and tensors in a safetensors file beside them", async () => {
    const expected = await logits(writeFolder(join(folder, "whole"), fixture, "BF16"));
    for (const [name, inShard] of [
      ["plain", /^$/],
      ["pointing", /mlp/],
    ] as const) {
      const at = offload(name, inShard);
      const { format } = await openCheckpoint(at);
      assert.equal(format, "offload");
      assert.deepEqual(await logits(at), expected);
      assert.deepEqual(await logits(join(at, "index.json")), expected);
    }
  });

  const bad: [string, (index: Index) => void, RegExp, string][] = [
    [
      "a missing file",
      (i) => Object.assign(i, { gone: { dtype: "float32", shape: [1] } }),
      /gone\.dat: is missing/,
      "FILE_NOT_FOUND",
    ],
    [
      "another size",
      (i) => (i["model.norm.weight"]!.shape = [7]),
      /has \d+ bytes; \[7\] of BF16 takes 14/,
      "FORMAT_INVALID",
    ],
    [
      "a name upwards",
      (i) => Object.assign(i, { "../x": { dtype: "float32", shape: [1] } }),
      /no plain name/,
      "FORMAT_INVALID",
    ],
    [
      "a type of nobody",
      (i) => Object.assign(i, { x: { dtype: "float7", shape: [1] } }),
      /type "float7"/,
      "FORMAT_UNSUPPORTED",
    ],
    [
      "safetensors elsewhere",
      (i) => Object.assign(i, { x: { safetensors_file: "/elsewhere/a.safetensors" } }),
      /outside of this folder/,
      "FORMAT_UNSUPPORTED",
    ],
  ];
  for (const [what, change, message, code] of bad)
    test(`refuses ${what}`, async () => {
      await assert.rejects(openCheckpoint(offload(what, /^$/, change)), { message, code });
    });
});
