import assert from "node:assert/strict";
import { test } from "node:test";
import { describeModel } from "../models/index.js";
import { representativeShape } from "./representative.js";
import { layOutSynth, synthCheckpoint } from "./synth.js";

test("a dense model of a size has that size, and a shape like those there are", () => {
  for (const size of [1e9, 8e9, 32e9, 70e9, 100e9, 405e9]) {
    const model = layOutSynth("r", representativeShape(size, undefined, "Q4_K_M"));
    assert.ok(Math.abs(model.parameters / size - 1) < 0.03, `${size}: ${model.parameters}`);
    const [dim, hidden, layers] = ["embedding_length", "feed_forward_length", "block_count"].map((key) =>
      Number(model.shape.metadata[key]),
    ) as [number, number, number];
    assert.ok(
      hidden / dim > 1.5 && hidden / dim < 6 && layers >= 12 && layers <= 160,
      `${size}: ${dim} ${hidden} ${layers}`,
    );
    describeModel(synthCheckpoint(model));
  }
});

test("a mixture of experts has that many parameters, and about that many active", () => {
  for (const [size, active] of [
    [30e9, 3e9],
    [100e9, 5e9],
    [106e9, 12e9],
    [235e9, 22e9],
    [671e9, 37e9],
  ] as const) {
    const model = layOutSynth("r", representativeShape(size, active, "Q4_K_M"));
    assert.ok(Math.abs(model.parameters / size - 1) < 0.06, `${size}: ${model.parameters}`);
    const { experts, topK } = model.spec.config;
    const routed = model.tensors.filter((t) => t.role === "expert");
    const inExperts = routed.reduce((sum, t) => sum + t.shape.reduce((a, b) => a * b, 1), 0);
    const used = model.parameters - inExperts * (1 - topK / experts);
    assert.ok(Math.abs(used / active - 1) < 0.15, `${size}: ${used} active`);
    describeModel(synthCheckpoint(model));
  }
  for (const [size, active] of [
    [1e8, undefined],
    [1e12, 1e8],
  ] as const)
    assert.throws(() => representativeShape(size, active, "Q4_K_M"), { code: "OPTION_INVALID" });
});
