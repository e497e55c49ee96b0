import assert from "node:assert/strict";
import { test } from "node:test";
import { describeModel } from "../models/index.js";
import { parseSpec } from "../synth/presets.js";
import { layOutSynth, synthCheckpoint } from "../synth/synth.js";
import type { MachineProfile } from "./machine.js";
import { Planner } from "./plan.js";
import { summarizePlan } from "./plan-summary.js";
import type { IoMode } from "./plan-summary-types.js";
import { openResidency } from "./residency.js";

const gibibyte = 2 ** 30;
const machine: MachineProfile = {
  threads: 4,
  memoryLimitBytes: 16 * gibibyte,
  availableBytes: 12 * gibibyte,
  memoryReadBytesPerSecond: 20e9,
  diskReadBytesPerSecond: 2e9,
  diskFirstTouchBytesPerSecond: 2e9,
  gemmOpsPerSecond: 200e9,
};

function summary(preset: string, budgetBytes: number, io: IoMode = "auto") {
  const { name, shape } = parseSpec(preset);
  const planner = new Planner(describeModel(synthCheckpoint(layOutSynth(name, shape, shape.quant))), machine);
  const plan = planner.plan(budgetBytes);
  const residency = openResidency(planner.model, plan, { io });
  const { map } = summarizePlan(planner.model, plan, residency, false);
  return { model: planner.model, plan, residency, map };
}

const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);

test("a streamed model: what is pinned on the map is what the plan pins", () => {
  const { model, plan, residency, map } = summary("llama-70b", 12 * gibibyte);
  assert.equal(plan.strategy, "streamed");
  const byName = new Map(map.tensors.map((tensor) => [tensor.name, tensor]));
  for (const [i, matrix] of plan.matrices.entries()) {
    const tensor = byName.get(matrix.name)!;
    assert.equal(tensor.pinnedBytes, plan.pinned[i]! * matrix.slices.bytes);
    assert.equal(tensor.bytes, matrix.bytes);
    const tiles = residency.placement!.tiles.filter((tile) => tile.name === matrix.name);
    const streamed = sum(tiles.map((tile) => (tile.to - tile.from) * matrix.slices.bytes));
    assert.equal(tensor.pinnedBytes + streamed, tensor.bytes, matrix.name);
    assert.equal(tensor.place, streamed === 0 ? "pinned" : tensor.pinnedBytes === 0 ? "streamed" : "split");
  }
  assert.equal(byName.get(model.embedding!.name)!.place, "rows");
  assert.equal(map.tensors.length, model.description.tensors.length);
  const streamed = sum(map.tensors.filter((t) => t.place !== "rows").map((t) => t.bytes - t.pinnedBytes));
  assert.equal(streamed, plan.prediction.streamedBytesPerPass);
});

test("a mixture of experts: slots for the routed ones, the trunk pinned", () => {
  const { plan, map } = summary("gpt-oss-120b", 12 * gibibyte);
  assert.equal(plan.strategy, "experts");
  const slots = map.tensors.filter((tensor) => tensor.place === "slots");
  assert.ok(slots.length > 0 && slots.every((tensor) => tensor.role === "expert" && tensor.experts === 128));
  assert.equal(map.slots!.bytes, plan.bytes.expertSlots);
  assert.ok(map.slots!.slots < map.slots!.experts);
  assert.ok(map.tensors.filter((t) => t.role === "attention").every((t) => t.place === "pinned"));
});

test("a model that fits is mapped, or pinned when files are read directly", () => {
  const places = (io: IoMode) =>
    new Set(
      summary("llama-1b", 12 * gibibyte, io)
        .map.tensors.filter((t) => t.role === "ffn")
        .map((t) => t.place),
    );
  assert.deepEqual([...places("auto")], ["mapped"]);
  assert.deepEqual([...places("direct")], ["pinned"]);
});
