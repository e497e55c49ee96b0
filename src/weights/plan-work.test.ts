import assert from "node:assert/strict";
import { test } from "node:test";
import { describeModel } from "../models/index.js";
import { parseSpec } from "../synth/presets.js";
import { layOutSynth, synthCheckpoint } from "../synth/synth.js";
import { type ComputeRates, defaultMachine } from "./machine.js";
import { PromptCompute, promptWork } from "./plan-work.js";

function described(spec: string) {
  const { name, shape } = parseSpec(spec);
  return describeModel(synthCheckpoint(layOutSynth(name, shape, shape.quant)));
}

const layers = 4;
const products = (work: ReturnType<typeof promptWork>): number =>
  work.types.reduce((sum, type) => sum + type.products, 0);

test("a row goes through every matrix of the layers, not through the head", () => {
  const [dim, hidden, heads, kvHeads, headDim] = [4096, 14336, 32, 8, 128];
  const work = promptWork(described(`llama-3-8b,layers=${layers}`));
  const attention = 2 * dim * heads * headDim + 2 * dim * kvHeads * headDim;
  assert.equal(products(work), layers * (attention + 3 * dim * hidden));
  assert.deepEqual(work.attention, [{ window: 0, products: layers * heads * 2 * headDim }]);
  assert.deepEqual(work.experts, []);
  // Norms, rotations, gates, what is kept and what is quantized: some times the width of a layer.
  assert.ok(work.values > layers * (2 * dim + hidden) && work.values < layers * (20 * dim + 4 * hidden));
});

test("layers that look back less far are told apart", () => {
  const work = promptWork(described("gemma-3-4b,layers=6"));
  assert.deepEqual(
    work.attention.map(({ window }) => window).sort((a, b) => a - b),
    [0, 1024],
  );
  const of = (wanted: number) => work.attention.find(({ window }) => window === wanted)!.products;
  assert.equal(of(1024), 5 * of(0));
});

test("few rows use few experts, many rows all, and each of them unpacks its weights", () => {
  const description = described(`qwen3-30b-a3b,layers=${layers}`);
  const computeRates: ComputeRates = {
    products: {
      Q4_K: { opsPerSecond: 1e12, unpackRows: 5 },
      Q6_K: { opsPerSecond: 1e12, unpackRows: 5 },
    },
    attentionOpsPerSecond: 1e11,
    gateValuesPerSecond: 1e9,
  };
  const compute = new PromptCompute(description, { ...defaultMachine(), computeRates });
  const [one, many] = [compute.expertUse(1), compute.expertUse(4096)];
  const perExpert = 3 * 2048 * 768;
  const seconds = (rows: number, experts: number) =>
    (layers * 2 * perExpert * (rows * 8 + experts * 5)) / (0.78 * 1e12);
  const near = (found: number, wanted: number) => assert.ok(Math.abs(found / wanted - 1) < 1e-6, `${found} ${wanted}`);
  near(one.seconds, seconds(1, 8));
  near(many.seconds, seconds(4096, 128));
  near(many.bytes / one.bytes, 128 / 8);
  const bytes = description.tensors.filter(({ role }) => role === "expert").map(({ info }) => info.planes);
  assert.ok(bytes.length === 3 * layers);
});

test("a type that nobody measured is taken for the commonest of its kind", () => {
  const description = described("llama-1b,layers=2");
  const machine = { ...defaultMachine(), gemmOpsPerSecond: 1e11 };
  const products = { Q4_K: { opsPerSecond: 2e11, unpackRows: 0 }, F32: { opsPerSecond: 1e10, unpackRows: 0 } };
  const rates = { attentionOpsPerSecond: 1e10, gateValuesPerSecond: 1e9 };
  const none = new PromptCompute(description, machine).productSeconds(100);
  const known = new PromptCompute(description, { ...machine, computeRates: { products, ...rates } });
  const exact = known.productSeconds(100);
  assert.ok(Math.abs(none / exact / 2 - 1.06) < 1e-9, `${none} ${exact}: half of the rate, six rows to unpack`);
});
