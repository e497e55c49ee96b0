/**
 * Pruned folders: what PyTorch and compressed-tensors keep of them is one plain matrix for `convert`, with the bits of
 * a folder that was never in such a form; running one says so, and damages are refused by name.
 */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { convertModel } from "../../src/convert/index.js";
import { bestOps } from "../differential/models/compare.js";
import { type Entry, readFixture, safetensorsBytes, storedBytes, valuesOf } from "../huggingface/folder.js";
import { openModel } from "../support/evaluate.js";
import { logitsOf } from "../support/logits-of.js";
import { writeByteTokenizer } from "./fixture-folder.js";

const folder = mkdtempSync(join(tmpdir(), "hundredweight-pruned-"));
after(() => rmSync(folder, { recursive: true, force: true }));
const fixture = readFixture("llama");

/** Two of each four inputs, as both forms can say it: the outer ones, then the inner ones. */
const counts = (i: number): boolean => ((i >> 2) % 2 === 0) === (i % 4 === 0 || i % 4 === 3);

type Form = (name: string, shape: readonly number[], values: Float32Array) => Entry[];

const bytesOf = (values: ArrayLike<number>): Uint8Array => storedBytes(Float32Array.from(values), "F32");

const forms: Readonly<Record<"masked" | "sparse", Form>> = {
  masked: (name, shape, values) => [
    { name: `${name}_orig`, dtype: "F32", shape, bytes: bytesOf(values) },
    { name: `${name}_mask`, dtype: "F32", shape, bytes: bytesOf(values.map((_, i) => (counts(i) ? 1 : 0))) },
  ],
  sparse: (name, [rows = 0, cols = 0], values) => {
    const module = name.slice(0, -".weight".length);
    const bits = new Uint8Array((rows * cols) / 8);
    for (let i = 0; i < values.length; i++) if (counts(i)) bits[i >> 3]! |= 1 << (i & 7);
    const kept = values.filter((_, i) => counts(i));
    return [
      { name: `${module}.compressed`, dtype: "F32", shape: [rows, cols / 2], bytes: bytesOf(kept) },
      { name: `${module}.bitmask`, dtype: "U8", shape: [rows, cols / 8], bytes: bits },
      {
        name: `${module}.shape`,
        dtype: "I64",
        shape: [2],
        bytes: new Uint8Array(BigInt64Array.of(BigInt(rows), BigInt(cols)).buffer),
      },
    ];
  },
};

function write(name: string, form: Form | undefined, change: (entry: Entry) => Entry = (entry) => entry): string {
  const at = join(folder, name);
  mkdirSync(at);
  const entries = fixture.tensors.flatMap(([tensor, shape, mean, scale]): Entry[] => {
    const count = shape.reduce((product, size) => product * size, 1);
    const values = valuesOf(tensor, count, mean, scale);
    if (!tensor.endsWith("_proj.weight")) return [{ name: tensor, dtype: "F32", shape, bytes: bytesOf(values) }];
    if (form !== undefined) return form(tensor, shape, values);
    const pruned = values.map((value, i) => (counts(i) ? value : 0));
    return [{ name: tensor, dtype: "F32", shape, bytes: bytesOf(pruned) }];
  });
  writeFileSync(join(at, "config.json"), JSON.stringify(fixture.config));
  writeFileSync(join(at, "model.safetensors"), safetensorsBytes(entries.map(change)));
  writeByteTokenizer(at, fixture.config.vocab_size as number);
  return at;
}

for (const [name, form] of Object.entries(forms))
  test(`${name}: converted it is the plain matrix`, async () => {
    const [source, plain] = [write(name, form), write(`${name} plain`, undefined)];
    await assert.rejects(openModel(source, bestOps()), {
      code: "FORMAT_UNSUPPORTED",
      message: /`hundredweight convert` writes it as a plain matrix/,
    });
    const expected = await logitsOf(plain, fixture.ids);
    const out = join(folder, `${name} out`);
    await convertModel(source, join(out, "model.safetensors"));
    assert.deepEqual(await logitsOf(out, fixture.ids), expected);
    // Both files hold rows in the order of GGUF.
    for (const [from, to] of [
      [source, `${name}.gguf`],
      [plain, `${name} plain.gguf`],
    ] as const)
      await convertModel(from, join(folder, to));
    assert.deepEqual(
      await logitsOf(join(folder, `${name}.gguf`), fixture.ids),
      await logitsOf(join(folder, `${name} plain.gguf`), fixture.ids),
    );
  });

test("damages are refused by name", async () => {
  const first = "model.layers.0.mlp.up_proj";
  const cases: readonly [name: string, path: string, code: string, message: RegExp][] = [
    [
      "half a mask",
      write("half a mask", forms.masked, (entry) =>
        entry.name === `${first}.weight_mask` ? { ...entry, bytes: entry.bytes.map(() => 63) } : entry,
      ),
      "MODEL_INVALID",
      /a mask holds/,
    ],
    [
      "three of four",
      write("three of four", forms.sparse, (entry) =>
        entry.name === `${first}.bitmask` ? { ...entry, bytes: entry.bytes.map(() => 0xf7) } : entry,
      ),
      "MODEL_INVALID",
      /not two of four/,
    ],
    [
      "rows of different lengths",
      write("bitmask", undefined, (entry) =>
        entry.name === `${first}.weight` ? { ...entry, name: `${first}.weight.compressed` } : entry,
      ),
      "FORMAT_UNSUPPORTED",
      /sparse-bitmask/,
    ],
    [
      "no mask",
      write("no mask", forms.masked, (entry) =>
        entry.name === `${first}.weight_mask` ? { ...entry, name: "elsewhere.weight_mask" } : entry,
      ),
      "MODEL_INVALID",
      /has no 'weight_mask'/,
    ],
  ];
  for (const [name, path, code, message] of cases)
    await assert.rejects(convertModel(path, join(folder, `${name} out`, "model.safetensors")), { code, message }, name);
});
