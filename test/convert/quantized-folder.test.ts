/** 4 bits as bitsandbytes makes them: its own bytes, and folders that run as what they decode to. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { bookCodes, bookScales, bookState, dynamicMap, nestedScales } from "../../src/convert/bitsandbytes.js";
import { convertModel, quantizeFolder } from "../../src/convert/index.js";
import { fp4Values, nf4Values } from "../../src/formats/decode-planes.js";
import { packageRoot } from "../../src/package-root.js";
import { logitsOf, openAdapted } from "../adapters/adapted.js";
import { readFixture } from "../huggingface/folder.js";
import { writeModelFolder } from "./fixture-folder.js";

interface Case {
  readonly codes: "nf4" | "fp4";
  readonly double: boolean;
  readonly rows: number;
  readonly cols: number;
  readonly weight: string;
  readonly values: string;
  readonly scales: string;
  readonly state: string;
  readonly outer?: string;
  readonly map?: string;
}

const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, "base64"));
const floats = (text: string): Float32Array => new Float32Array(bytes(text).buffer);

describe("4 bits of bitsandbytes", () => {
  let folder = "";
  before(() => {
    folder = mkdtempSync(join(tmpdir(), "hundredweight-books-"));
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  const golden = JSON.parse(readFileSync(join(packageRoot(), "test", "golden", "bitsandbytes-codes.json"), "utf8"));
  for (const c of golden.cases as Case[])
    test(`${c.codes}${c.double ? " with nested scales" : ""} of ${c.rows} x ${c.cols}: the library's bytes`, () => {
      const weight = floats(c.weight);
      assert.deepEqual(bookCodes(weight, c.codes), bytes(c.values));
      const scales = bookScales(weight);
      const mean = c.double ? (JSON.parse(c.state).nested_offset as number) : 0;
      assert.equal(Buffer.from(bookState(c, "float32", [c.rows, c.cols], mean)).toString(), c.state);
      if (!c.double) return assert.deepEqual(scales, floats(c.scales));
      assert.deepEqual(dynamicMap, floats(c.map!));
      const nested = nestedScales(scales, mean);
      assert.deepEqual(nested.codes, bytes(c.scales));
      assert.deepEqual(nested.outer, floats(c.outer!));
      // Torch sums in F32, in an order of its own.
      assert.ok(Math.abs(nestedScales(scales).offset - mean) <= 2 ** -22 * mean);
    });

  for (const [codes, double] of [
    ["nf4", false],
    ["nf4", true],
    ["fp4", true],
  ] as const)
    test(`a folder in ${codes}${double ? ", double" : ""} runs as what it decodes to`, async () => {
      const base = readFixture("qwen3");
      const name = `${codes}-${double}`;
      const source = writeModelFolder(join(folder, `${name}-source`), base, "BF16");
      const to = join(folder, name);
      const { matrices } = await quantizeFolder(source, to, { codes, double });
      assert.equal(matrices, 7 * (base.config.num_hidden_layers as number));
      const config = JSON.parse(readFileSync(join(to, "config.json"), "utf8"));
      assert.equal(config.quantization_config.bnb_4bit_quant_type, codes);
      const plain = join(folder, `${name}-plain`);
      await convertModel(to, join(plain, "model.safetensors"), { type: "f32" });
      const logits = [];
      for (const path of [to, plain, source]) {
        const model = await openAdapted(path, []);
        logits.push((await logitsOf(model, base.ids, [[]]))[0]);
        model.close();
      }
      assert.deepEqual(logits[0], logits[1]);
      assert.notDeepEqual(logits[0], logits[2]);
    });

  test("NF4 and FP4 are off by half of their widest gap at most", () => {
    const values = Float32Array.from({ length: 64 * 4096 }, (_, i) =>
      Math.fround(Math.sin(i * 12.9898) * (1 + (i % 7))),
    );
    const scales = bookScales(values);
    for (const [codes, book] of [
      ["nf4", nf4Values],
      ["fp4", fp4Values],
    ] as const) {
      const sorted = [...new Set(book.map((v) => v + 0))].sort((a, b) => a - b);
      const gap = Math.max(...sorted.slice(1).map((v, i) => v - sorted[i]!));
      const stored = bookCodes(values, codes);
      let most = 0;
      for (let i = 0; i < values.length; i++) {
        const code = i % 2 === 0 ? stored[i >> 1]! >> 4 : stored[i >> 1]! & 15;
        const scale = scales[Math.floor(i / 64)]!;
        most = Math.max(most, Math.abs(book[code]! * scale - values[i]!) / scale);
      }
      // Between -1 and -0.6962 the values of NF4 are farthest apart: 0.1519 of the largest value.
      if (codes === "nf4") assert.ok(Math.abs(gap / 2 - 0.1519) < 1e-4);
      assert.ok(most <= gap / 2 + 1e-6 && most > 0.4 * gap, `${codes}: ${most} of ${gap / 2}`);
    }
  });

  test("experts and what is quantized already are refused by name", async () => {
    const moe = writeModelFolder(join(folder, "moe"), readFixture("mixtral"));
    const options = { codes: "nf4", double: false } as const;
    await assert.rejects(quantizeFolder(moe, join(folder, "moe-4"), options), { code: "FORMAT_UNSUPPORTED" });
    const source = writeModelFolder(join(folder, "twice"), readFixture("qwen3"));
    await quantizeFolder(source, join(folder, "once-4"), options);
    await assert.rejects(quantizeFolder(join(folder, "once-4"), join(folder, "twice-4"), options), {
      code: "FORMAT_UNSUPPORTED",
    });
  });
});
