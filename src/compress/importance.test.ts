import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { dtypeByName, writeGguf } from "../formats/index.js";
import { PackedStrings } from "../formats/metadata.js";
import { readImportance } from "./importance.js";

const folder = mkdtempSync(join(tmpdir(), "importance-"));
after(() => rmSync(folder, { recursive: true, force: true }));
const f32 = dtypeByName("F32")!;
const bytes = (values: readonly number[]) => new Uint8Array(Float32Array.from(values).buffer);

async function gguf(path: string, tensors: Readonly<Record<string, readonly number[]>>, chunks = 3): Promise<string> {
  const file = join(folder, path);
  await writeGguf(file, {
    metadata: [
      ["general.type", { type: "string", value: "imatrix" }],
      ["imatrix.datasets", { type: "array", element: "string", value: PackedStrings.from(["a.txt"]) }],
      ["imatrix.chunk_count", { type: "u32", value: chunks }],
      ["imatrix.chunk_size", { type: "u32", value: 512 }],
    ],
    tensors: Object.entries(tensors).map(([name, data]) => ({
      name,
      dtype: f32,
      shape: [data.length],
      data: bytes(data),
    })),
  });
  return file;
}

function old(path: string, entries: readonly (readonly [string, number, readonly number[]])[]): string {
  const i32 = (value: number) => new Uint8Array(Int32Array.of(value).buffer);
  const parts = [i32(entries.length)];
  for (const [name, calls, values] of entries)
    parts.push(i32(name.length), Buffer.from(name), i32(calls), i32(values.length), bytes(values));
  parts.push(i32(7), i32(5), Buffer.from("b.txt"));
  const file = join(folder, path);
  writeFileSync(file, Buffer.concat(parts));
  return file;
}

describe("importance matrices", () => {
  test("sums and counts of GGUF; a matrix that was never used weighs all columns alike", async () => {
    const path = await gguf("a.gguf", { "x.weight.in_sum2": [2, 4, 6, 8], "x.weight.counts": [2, 0] });
    const { columns, datasets, chunks } = readImportance(path);
    assert.deepEqual([...columns.get("x.weight")!], [1, 2, 1, 1]);
    assert.deepEqual([datasets, chunks], [["a.txt"], 3]);
  });

  test("the older form, whose values are times the calls", () => {
    const { columns, datasets, chunks } = readImportance(
      old("b.dat", [
        ["x.weight", 4, [4, 8]],
        ["y.weight", 0, [3]],
      ]),
    );
    assert.deepEqual([...columns.get("x.weight")!, ...columns.get("y.weight")!], [1, 2, 3]);
    assert.deepEqual([datasets, chunks], [["b.txt"], 7]);
  });

  test("damaged ones are refused at every length", async () => {
    const whole = readFileSync(old("c.dat", [["x.weight", 1, [1, 2, 3]]]));
    const file = join(folder, "cut");
    // Chunks and the name of the text may be missing.
    for (let length = 0; length < whole.length - 13; length++) {
      writeFileSync(file, whole.subarray(0, length));
      assert.throws(() => readImportance(file), { code: "FORMAT_INVALID" }, `${length} bytes`);
    }
    for (const value of [Number.NaN, Number.POSITIVE_INFINITY, -1])
      assert.throws(() => readImportance(old("d.dat", [["x", 1, [value]]])), { code: "FORMAT_INVALID" });
    for (const tensors of [
      { "x.in_sum2": [1, 2] },
      { "x.in_sum2": [1, 2, 3], "x.counts": [1, 1] },
      { other: [1] },
    ] as Record<string, number[]>[]) {
      const path = await gguf("e.gguf", tensors);
      assert.throws(() => readImportance(path), { code: "FORMAT_INVALID" });
    }
    const huge = Buffer.from(Int32Array.of(1, 1, 0x78, 1, 2 ** 30).buffer);
    writeFileSync(file, huge);
    assert.throws(() => readImportance(file), { code: "FORMAT_INVALID" });
  });
});
