/** Importance gathered from a model, written and read back, and used by the files that are quantized with it. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { type Calibration, calibrate, writeImportance } from "../src/compress/calibrate.js";
import { diagonalOf } from "../src/compress/feedback.js";
import { readImportance } from "../src/compress/importance.js";
import { momentsPath, openMoments, writeMoments } from "../src/compress/moments.js";
import { planQuantize } from "../src/compress/quantize-model.js";
import { openCheckpoint } from "../src/containers/index.js";
import { writeQuantized } from "../src/convert/index.js";
import { openGguf } from "../src/formats/index.js";
import { describeModel } from "../src/models/index.js";
import { skipAddon } from "./support/addon.js";
import { randomTokens } from "./support/evaluate.js";
import { randomModelVocab, writeRandomModel } from "./support/random-model.js";

const folder = mkdtempSync(join(tmpdir(), "hundredweight-calibrate-"));
after(() => rmSync(folder, { recursive: true, force: true }));

async function model(variant: string): Promise<string> {
  const path = join(folder, `${variant}.gguf`);
  const types = { attention: "F32", ffn: "F32", expert: "F32", embedding: "F32", head: "F32" };
  await writeRandomModel(path, { arch: "llama", variant, dims: 64, types, seed: 4 });
  return path;
}

const ids = randomTokens(5 * 48, randomModelVocab, 17);
const chunks = Array.from({ length: 5 }, (_, i) => Int32Array.from(ids.slice(48 * i, 48 * i + 48)));
const gather = async (path: string, together = 1): Promise<Calibration> =>
  calibrate(describeModel(await openCheckpoint(path)), chunks, { chunkTokens: 48, together, threads: 2 });
const values = ({ sums }: Calibration) => [...sums].map(([name, { squares, rows }]) => [name, [...squares], [...rows]]);

const readNothing = { path: "none", datasets: [], chunks: 0 };

describe("calibration", { skip: skipAddon }, () => {
  test("sums of all products of the layers, the same however many chunks a pass has", async () => {
    const path = await model("dense");
    const one = await gather(path);
    for (const { rows } of one.sums.values()) assert.deepEqual([...rows], [5 * 48]);
    assert.ok(one.sums.has("blk.0.ffn_down.weight") && !one.sums.has("output.weight"));
    assert.deepEqual(values(await gather(path, 3)), values(one));
    // What goes into q, k and v is one thing.
    assert.deepEqual(one.sums.get("blk.1.attn_q.weight"), one.sums.get("blk.1.attn_k.weight"));
    for (const name of ["a.gguf", "a.dat"]) {
      await writeImportance(join(folder, name), one, ["text"]);
      const read = readImportance(join(folder, name));
      assert.deepEqual([read.chunks, read.datasets, read.columns.size], [5, ["text"], one.sums.size]);
      for (const [matrix, { squares }] of one.sums)
        for (const [i, value] of read.columns.get(matrix)!.entries())
          assert.ok(Math.abs(value - squares[i]! / 240) <= 1e-6 * value, `${name} ${matrix} ${i}`);
    }
    const importance = readImportance(join(folder, "a.gguf"));
    assert.deepEqual(planQuantize(openGguf(path), { mix: "Q4_0", importance }).unweighed, []);
  });

  test("experts have sums of their own, of the tokens that took them", async () => {
    const { sums } = await gather(await model("moe"));
    const { rows, squares } = sums.get("blk.0.ffn_gate_exps.weight")!;
    assert.equal(
      rows.reduce((a, b) => a + b, 0),
      2 * 240,
    );
    const down = sums.get("blk.0.ffn_down_exps.weight")!;
    assert.deepEqual([...down.rows], [...rows]);
    const cols = squares.length / rows.length;
    for (const [e, count] of rows.entries())
      assert.equal(
        squares.subarray(e * cols, (e + 1) * cols).some((v) => v > 0),
        count > 0,
      );
  });

  test("moments have the importance on their diagonal, also those of experts and of the head", async () => {
    for (const variant of ["dense", "moe"]) {
      const path = await model(variant);
      const found = await calibrate(describeModel(await openCheckpoint(path)), chunks, {
        chunkTokens: 48,
        threads: 2,
        momentBytes: 2 ** 24,
      });
      const to = momentsPath(join(folder, `${variant}.imatrix.gguf`));
      await writeMoments(to, found.moments!, found);
      const moments = openMoments(to);
      assert.equal(moments.entries.get("blk.0.attn_q.weight"), moments.entries.get("blk.0.attn_v.weight"));
      assert.ok(moments.entries.has("output.weight") || moments.entries.has("token_embd.weight"));
      for (const [name, { squares, rows }] of found.sums) {
        const entry = moments.entries.get(name)!;
        const shared = entry.rows.length < rows.length;
        assert.deepEqual(entry.rows, shared ? [240] : [...rows], name);
        for (let matrix = 0; matrix < entry.rows.length && !shared; matrix++) {
          const diagonal = diagonalOf(moments.read(entry, matrix), entry.cols, entry.block, 1);
          for (const [i, value] of diagonal.entries()) {
            const wanted = squares[matrix * entry.cols + i]!;
            assert.ok(Math.abs(value - wanted) <= 1e-5 * wanted, `${name} ${matrix} ${i}: ${value}, ${wanted}`);
          }
        }
      }
      const best = { mix: "Q4_0", moments, importance: { ...readNothing, columns: new Map() } } as const;
      const plan = planQuantize(openGguf(path), best);
      assert.ok(plan.feedbackBytes > 0 && plan.tensors.some(({ moments: entry }) => entry !== undefined));
      const files = [1, 2].map((threads) => join(folder, `${variant}-${threads}.gguf`));
      for (const [i, file] of files.entries()) await writeQuantized(file, plan, { threads: i + 1 });
      assert.equal(Buffer.compare(readFileSync(files[0]!), readFileSync(files[1]!)), 0);
      assert.throws(() => openMoments(path), { code: "FORMAT_INVALID" });
    }
  });

  test("a text without a whole chunk is refused", async () => {
    const description = describeModel(await openCheckpoint(await model("dense")));
    await assert.rejects(calibrate(description, [], { chunkTokens: 48, threads: 1 }), { code: "OPTION_INVALID" });
  });
});
