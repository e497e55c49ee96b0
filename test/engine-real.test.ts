/**
 * The engine on real (random, tiny) models: windows, experts, chunks, edits, what is kept of the past. Bits, not
 * tolerances.
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { openParts } from "../src/engine/open.js";
import { Model } from "../src/library/model.js";
import { Rng } from "../src/sampling/rng.js";
import { makeTinyModel } from "../src/synth/tiny.js";

const folder = mkdtempSync(join(tmpdir(), "hw-engine-"));
after(() => rmSync(folder, { recursive: true }));

async function logits(path: string, lists: number[][], chunkRows: number): Promise<Float32Array[]> {
  const model = await Model.load(path, { chunkRows, contextTokens: 700 }, openParts);
  try {
    const rows: Float32Array[] = [];
    for (const ids of lists) rows.push((await model.logits(ids))[0]!);
    return rows;
  } finally {
    await model.close();
  }
}

for (const arch of ["llama", "gemma3", "gpt-oss"]) {
  test(`${arch}: after any edits the logits are those of a cold evaluation`, async () => {
    const path = join(folder, `${arch}.gguf`);
    const { vocab } = await makeTinyModel(path, arch);
    const rng = new Rng(arch.length);
    const random = (n: number): number => Math.floor(rng.uniform() * n);
    const text = (n: number): number[] => Array.from({ length: n }, () => random(vocab));
    // Beyond a page, beyond two, a short rewind, a long one that a window cannot undo, a small change at the end.
    const lists = [text(270)];
    lists.push([...lists[0]!, ...text(260)]);
    lists.push(lists[1]!.slice(0, 525));
    lists.push([...lists[1]!.slice(0, 300), ...text(10)]);
    lists.push([...lists[3]!.slice(0, -1), random(vocab)]);
    const warm = await logits(path, lists, 97);
    for (const [i, list] of lists.entries()) {
      const [cold] = await logits(path, [list], i % 2 === 0 ? 700 : 64);
      assert.deepEqual(warm[i], cold, `list ${i}`);
    }
  });
}
