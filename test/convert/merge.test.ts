/**
 * Adapters that become part of the matrices: each value is what W + scale B A is in exact arithmetic, rounded once;
 * logits are those of run time and of PEFT.
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { openAdapter, openCheckpoint } from "../../src/containers/index.js";
import { convertModel } from "../../src/convert/index.js";
import { mergedPairs } from "../../src/convert/merged-pairs.js";
import { Sources, StoredMatrix } from "../../src/convert/stored-matrix.js";
import { describeModel } from "../../src/models/index.js";
import { logitsOf, openAdapted } from "../adapters/adapted.js";
import { expectedLogits, readAdapterFixture, writePeft } from "../adapters/fixture.js";
import { readFixture } from "../huggingface/folder.js";
import { meanKl } from "../support/evaluate.js";
import { writeModelFolder } from "./fixture-folder.js";

describe("adapters merged into a model", () => {
  let folder = "";
  before(() => {
    folder = mkdtempSync(join(tmpdir(), "hundredweight-merge-"));
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  for (const name of ["llama", "qwen3", "phi3", "gpt2", "gptneox", "qwen3_moe", "granitemoe", "mixtral"])
    test(`${name}: adapters merged are what they are at run time`, async (t) => {
      const [base, fixture] = [readFixture(name), readAdapterFixture(name)];
      const source = writeModelFolder(join(folder, name), base);
      let paths = (["a", "b"] as const).map((which) => writePeft(join(folder, `${name}-${which}`), fixture, which));
      const out = join(folder, `${name}.gguf`);
      if (name === "gpt2") {
        // Its second one is for the embedding, which is the head as well.
        const merge = paths.map((path) => ({ path }));
        await assert.rejects(convertModel(source, out, { merge }), { code: "ADAPTER_UNSUPPORTED" });
        paths = paths.slice(0, 1);
      }
      await convertModel(source, out, { merge: paths.map((path) => ({ path })), type: "f32" });
      const [merged, apart] = [await openAdapted(out, []), await openAdapted(source, paths)];
      const [found] = await logitsOf(merged, base.ids, [[]]);
      const [expected] = await logitsOf(apart, base.ids, [paths.map(() => 1)]);
      merged.close();
      apart.close();
      const [kl, peft] = [
        meanKl(expected!, found!),
        meanKl(expectedLogits(fixture, name === "gpt2" ? "a" : "ab", "values"), found!.slice(-fixture.rows[0])),
      ];
      t.diagnostic(`KL to run time ${kl.toExponential(2)}, to PEFT ${peft.toExponential(2)}`);
      assert.ok(kl >= -1e-9 && kl < 1e-8, `KL to run time ${kl}`);
      assert.ok(peft >= -1e-9 && peft < 1e-6, `KL to PEFT ${peft}`);
    });

  test("each value is rounded once", async () => {
    const [base, fixture] = [readFixture("qwen3"), readAdapterFixture("qwen3")];
    const source = writeModelFolder(join(folder, "values"), base);
    const path = writePeft(join(folder, "values-a"), fixture, "a");
    const checkpoint = await openCheckpoint(source);
    const adapter = openAdapter(path, checkpoint);
    const changes = mergedPairs(describeModel(checkpoint), [{ adapter, scale: 0.75 }]);
    assert.deepEqual([...changes.keys()].sort(), [...adapter.pairs.keys()].sort());
    const [plain, changed] = [new Sources(), new Sources(changes)];
    let values = 0;
    for (const [name, { a, b, scale }] of adapter.pairs) {
      const info = checkpoint.tensors.get(name)!;
      const [before, after] = [new StoredMatrix(info, plain), new StoredMatrix(info, changed)];
      const half = (rows: number, cols: number, { extents }: typeof a) => {
        const bytes = new Uint8Array(4 * rows * cols);
        plain.read(extents[0]!.file, extents[0]!.offset, bytes);
        return new Float32Array(bytes.buffer);
      };
      const [low, high] = [half(a.rows, a.cols, a), half(b.rows, b.cols, b)];
      const [w, m] = [new Float32Array(before.cols), new Float32Array(before.cols)];
      for (let row = 0; row < before.rows; row++) {
        before.decode(before.read(0, row - (row % before.run)), row, w);
        after.decode(after.read(0, row - (row % after.run)), row, m);
        for (let c = 0; c < w.length; c++, values++) {
          let exact = w[c]!;
          let size = Math.abs(exact);
          for (let k = 0; k < a.rows; k++) {
            const term = 0.75 * scale * high[row * a.rows + k]! * low[k * a.cols + c]!;
            exact += term;
            size += Math.abs(term);
          }
          // Half a unit of the last place of F32, and what a few sums in double precision lose.
          const bound = Math.abs(exact) * 2 ** -24 + size * (a.rows + 2) * 2 ** -52;
          assert.ok(Math.abs(m[c]! - exact) <= bound, `${name} ${row} ${c}: ${m[c]} for ${exact}`);
        }
      }
    }
    plain.close();
    changed.close();
    assert.ok(values > 1000);
  });

  test("what a type would round away is refused by name", async () => {
    const source = writeModelFolder(join(folder, "refused"), readFixture("qwen3"));
    const path = writePeft(join(folder, "refused-a"), readAdapterFixture("qwen3"), "a");
    const merge = [{ path }];
    await assert.rejects(convertModel(source, join(folder, "r.gguf"), { merge, type: "q8_0" }), {
      code: "OPTION_INVALID",
      message: /is changed by an adapter, and Q8_0 would round/,
    });
    const small = join(folder, "small.gguf");
    await convertModel(source, small, { type: "q8_0" });
    await assert.rejects(convertModel(small, join(folder, "r.gguf"), { merge }), { code: "FORMAT_UNSUPPORTED" });
    await convertModel(small, join(folder, "r.gguf"), { merge, inexact: "f16" });
  });
});
