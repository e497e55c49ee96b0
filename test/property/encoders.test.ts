/**
 * Encoders: final rows, pooled rows and scores are the same bits for every instruction set, number of threads,
 * placement of weights and neighbour in the pass; and those of yesterday are not asked here but of llama.cpp
 * (test/differential/encoders).
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { openCheckpoint } from "../../src/containers/index.js";
import { describeModel, encoders } from "../../src/models/index.js";
import { addonStatus } from "../../src/native/addon.js";
import { seededWords } from "../../src/synth/random.js";
import { randomTokens } from "../support/evaluate.js";
import { bindPlaced, placements } from "../support/placements.js";
import { randomModelVocab, writeRandomModel } from "../support/random-model.js";
import { textOutputs } from "../support/vectors.js";

const status = addonStatus();
const isas = status.isas ?? [];
const skip = status.state === "loaded" ? false : `SKIPPED: ${status.reason}`;
const folder = mkdtempSync(join(tmpdir(), "hundredweight-encoder-bits-"));
after(() => rmSync(folder, { recursive: true, force: true }));

/** One crosses a page. */
const texts = [41, 262, 7].map((length, i) => randomTokens(length, randomModelVocab, 31 + i));
const types = ["Q8_0", "Q4_K", "F16", "Q5_0"];

let number = 0;
for (const { name, tiny } of encoders)
  for (const { variant } of tiny) {
    const seed = ++number;
    const dtype = types[seed % types.length]!;
    test(`${name} ${variant}, ${dtype}: the same bits whichever way`, { skip }, async () => {
      const path = join(folder, "model.gguf");
      const dims = dtype === "Q4_K" ? 256 : 64;
      const all = { attention: dtype, ffn: dtype, expert: dtype, embedding: dtype, head: dtype };
      const overrides = dims === 256 ? { block_count: 2, feed_forward_length: 256 } : {};
      await writeRandomModel(path, { arch: name, variant, dims, types: all, seed, overrides });
      const description = describeModel(await openCheckpoint(path));
      const words = seededWords(seed, "encoders");
      const below = (n: number): number => words() % n;
      const evaluate = async (isa: string, threads: number, placement: number, together: boolean) => {
        const options = { contextTokens: 320, maxRows: 320, sequences: 3, kvType: "f16", maxLogitRows: 50 } as const;
        const way = { isa, threads, placement: placements[placement]! };
        const model = await bindPlaced(description, way, options, below);
        try {
          if (together) return await textOutputs(model, texts);
          const parts = [];
          for (const text of texts) parts.push(await textOutputs(model, [text]));
          const rows = Float32Array.from(parts.flatMap((part) => [...part.rows]));
          return { texts: parts.flatMap((part) => part.texts), rows };
        } finally {
          model.close();
        }
      };
      const expected = await evaluate(isas.at(-1)!, 1, 0, false);
      assert.ok(expected.rows.every(Number.isFinite) && expected.rows.some((v) => v !== 0));
      for (const [i, isa] of isas.entries()) {
        if (isa === "scalar" && dims === 256) continue;
        const placement = 1 + ((seed + i) % (placements.length - 1));
        for (const [threads, where, together] of [
          [2, 0, true],
          [1 + (i % 3), placement, i % 2 === 0],
        ] as const)
          assert.deepEqual(
            await evaluate(isa, threads, where, together),
            expected,
            `${isa}, ${threads} threads, ${where}`,
          );
      }
    });
  }
