import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { writeRandomModel } from "../../test/support/random-model.js";
import { openCheckpoint } from "../containers/index.js";
import { addonStatus } from "../native/addon.js";
import { createOps } from "../ops/index.js";
import { ReferenceOps } from "../ops/reference.js";
import { architectures, bindModel, describeModel, estimateMemory, type ModelOptions } from "./index.js";

describe("estimated memory is what binding takes", () => {
  let folder = "";
  before(() => {
    folder = mkdtempSync(join(tmpdir(), "hundredweight-estimate-"));
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  const options: ModelOptions[] = [
    { contextTokens: 700, maxRows: 64, sequences: 1, kvType: "f16", maxLogitRows: 8 },
    { contextTokens: 100, maxRows: 1, sequences: 3, kvType: "q8_0", maxLogitRows: 1 },
    { contextTokens: 3000, maxRows: 300, sequences: 2, kvType: "q4_0", maxLogitRows: 300 },
  ];
  for (const { name, tiny } of architectures)
    for (const { variant } of tiny)
      test(`${name} ${variant}`, async () => {
        const path = join(folder, `${name}-${variant}.gguf`);
        const roles = { attention: "Q4_K", ffn: "Q6_K", expert: "Q4_K", embedding: "Q8_0", head: "Q5_0" };
        await writeRandomModel(path, { arch: name, variant, dims: 256, types: roles, seed: 1 });
        const checkpoint = await openCheckpoint(path);
        const description = describeModel(checkpoint);
        for (const o of options) {
          const reference = new ReferenceOps();
          const { slots } = await bindModel(checkpoint, reference, o);
          const real = reference.counters();
          const estimate = estimateMemory(description, o, 2);
          // The reference counts its f32 vectors among the activations.
          assert.equal(estimate.activationBytes + estimate.vectorBytes, real.activationBytes);
          // Pages and slots together.
          const states = estimate.kvBytes + estimate.slotBytes;
          assert.equal(states, real.kvBytes);
          const kept = slots === undefined ? 0 : slots.slots * slots.slotBytes + slots.keeps * slots.keepBytes;
          assert.equal(estimate.slotBytes, kept);
          // Two slots a sequence, and nothing where no layer replaces what it keeps.
          assert.equal(slots?.slots ?? 0, description.slotLayers.length === 0 ? 0 : 2 * o.sequences);
          reference.close();
          if (addonStatus().state !== "loaded") continue;
          const native = createOps({ kind: "native", threads: 2 });
          await bindModel(checkpoint, native, o);
          const { activationBytes, scratchBytes, kvBytes } = native.counters();
          native.close();
          // Every buffer is rounded to 64 bytes; the plan may not promise less than is taken, nor waste much.
          const planned = estimate.activationBytes + estimate.ropeBytes + estimate.scratchBytes;
          const taken = activationBytes + scratchBytes;
          assert.ok(planned >= taken - 64 * 100 && planned <= 1.02 * taken + 2 ** 16, `${planned} for ${taken}`);
          assert.ok(kvBytes >= states && kvBytes <= states + 64 * 4, `${kvBytes} for ${states}`);
        }
      });
});
