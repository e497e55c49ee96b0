/** Wrong and hostile calls of the addon: every one is an error with a code, none a crash; nothing outlives a model. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { Worker } from "node:worker_threads";
import { addon, assertWrongCall, codeOf, i32, skipAddon } from "../../test/support/addon.js";
import { HundredweightError } from "../errors.js";
import { packageRoot } from "../package-root.js";
import { addonStatus } from "./addon.js";
import type { NativeAddon } from "./addon.types.js";
import { productInto } from "./boundary.js";
import { idsOf } from "./named-numbers.js";

const folder = mkdtempSync(join(tmpdir(), "hundredweight-addon-"));
after(() => rmSync(folder, { recursive: true, force: true }));
const weights = join(folder, "weights.bin");
writeFileSync(weights, new Uint8Array(Float32Array.from({ length: 64 * 64 * 4 }, (_, i) => Math.sin(i)).buffer));

/** The placement of one matrix. */
const bytes = 64 * 64 * 4;

/** A model with one of everything; f32 weight [64, 64] with 4 experts and [64, 64] plain. */
function modelWithAll(threads = 2) {
  const model = addon.modelOpen(threads, null, 0, null);
  const file = addon.fileOpen(model, weights);
  const all = {
    model,
    file,
    x: addon.tensor(model, 8, 64),
    y: addon.tensor(model, 8, 64),
    z: addon.tensor(model, 8, 64),
    logits: addon.tensor(model, 8, 4),
    plain: addon.weight(model, Float64Array.of(0), 64, 64, 1, Float64Array.of(0, file, 0, bytes)),
    stacked: addon.weight(model, Float64Array.of(0), 64, 64, 4, Float64Array.of(0, file, 0, 4 * bytes)),
    vector: addon.vector(model, new Float32Array(64).fill(1)),
    routing: addon.routing(model, 8, 2),
    rope: addon.ropeTable(model, new Float64Array(8).fill(0.1), 1, false, 8, 0, 0),
    pool: addon.kvPool(model, Int32Array.of(4, 16, 16, 0), 0, 0, false, 3, 3, 1),
  };
  addon.seal(model);
  return all;
}

function begin(model: number, positions: number[], table = [0, 1, 2], ids = positions.map(() => 0)) {
  const zeros = new Int32Array(positions.length);
  addon.begin(model, positions.length, i32(...ids), i32(...positions), zeros, 1, [i32(...table)], i32(table.length));
}

test("handles: wrong kind, wrong model, closed model", { skip: skipAddon }, () => {
  const a = modelWithAll();
  assertWrongCall(() => addon.add(a.model, a.plain, a.x, 1), "a weight is no tensor");
  assertWrongCall(() => addon.add(a.model, 0, a.x, 1));
  assertWrongCall(() => addon.add(a.model, -5, a.x, 1));
  assertWrongCall(() => addon.add(a.model, 1e6, a.x, 1));
  assert.equal(
    codeOf(() => addon.add(a.model + 1, a.x, a.y, 1)),
    "ENGINE_CLOSED",
  );
  addon.modelClose(a.model);
  assert.equal(
    codeOf(() => addon.add(a.model, a.x, a.y, 1)),
    "ENGINE_CLOSED",
  );
  const again = codeOf(() => addon.modelClose(a.model));
  assert.equal(again, "ENGINE_CLOSED");
});

test("creation refuses impossible shapes, and everything after seal", { skip: skipAddon }, () => {
  const model = addon.modelOpen(1, null, 0, null);
  assertWrongCall(() => addon.tensor(model, 0, 4));
  assertWrongCall(() => addon.tensor(model, 2 ** 31, 4));
  assertWrongCall(() => addon.vector(model, new Float32Array(0)));
  assertWrongCall(
    () => addon.kvPool(model, i32(1, 4096, 64, 0), 0, 0, false, 1, 1, 1),
    "a head beyond what kernels hold",
  );
  assertWrongCall(() => addon.kvPool(model, i32(1, 64, 64), 0, 0, false, 1, 1, 1));
  assertWrongCall(() => addon.kvPool(model, i32(1, 64, 65, 1), 0, 0, false, 1, 1, 1), "more values than a latent has");
  assertWrongCall(() => addon.kvPool(model, i32(1, 64, 64, 0), 3, 3, false, 1, 1, 1));
  assert.equal(
    codeOf(() => addon.kvPool(model, i32(1, 80, 80, 0), 1, 1, false, 1, 1, 1)),
    "OPTION_INVALID",
  );
  assert.equal(
    codeOf(() => addon.kvPool(model, i32(65536, 2048, 2048, 0), 0, 0, false, 2 ** 31 - 1, 2 ** 31 - 1, 1)),
    "MEMORY_BUDGET",
  );
  const file = addon.fileOpen(model, weights);
  assert.equal(addon.fileBytes(model, file), 64 * 64 * 4 * 4);
  assertWrongCall(
    () => addon.weight(model, Float64Array.of(0), 64, 64, 5, Float64Array.of(0, file, 0, 5 * bytes)),
    "beyond the file",
  );
  assertWrongCall(() => addon.weight(model, Float64Array.of(0), 64, 64, 1, Float64Array.of(0, file, -4, bytes)));
  assertWrongCall(() =>
    addon.weight(model, Float64Array.of(0), 64, 64, 1, Float64Array.of(0, file, 2 ** 53 - 1, bytes)),
  );
  assertWrongCall(
    () => addon.weight(model, Float64Array.of(0), 2 ** 30, 2 ** 30, 2 ** 30, Float64Array.of(0, file, 0, 2 ** 30)),
    "overflow",
  );
  assertWrongCall(
    () => addon.weight(model, Float64Array.of(12), 1, 100, 1, Float64Array.of(0, file, 0, 1)),
    "a part of a block",
  );
  assertWrongCall(
    () => addon.weight(model, Float64Array.of(4), 1, 256, 1, Float64Array.of(0, file, 0, 1)),
    "a type that ggml took back",
  );
  assertWrongCall(() => addon.weight(model, Float64Array.of(-1), 1, 256, 1, Float64Array.of(0, file, 0, 1)));
  assertWrongCall(
    () => addon.weight(model, Float64Array.of(0), 64, 64, 2, Float64Array.of(0, file, 0, bytes)),
    "an expert is missing",
  );
  assertWrongCall(
    () => addon.weight(model, Float64Array.of(0), 64, 64, 1, Float64Array.of(0, file, 0, bytes, 0, file, 0, bytes)),
    "one too many",
  );
  assertWrongCall(
    () => addon.weight(model, Float64Array.of(0), 64, 64, 1, Float64Array.of(1, file, 0, bytes)),
    "no such plane",
  );
  assertWrongCall(
    () => addon.weight(model, Float64Array.of(0), 64, 64, 1, Float64Array.of(0, file, 0)),
    "a part of an extent",
  );
  assertWrongCall(
    () => addon.weight(model, Float64Array.of(0), 64, 64, 1, Float64Array.of(0, Number.NaN, 0, bytes)),
    "no number",
  );
  assertWrongCall(
    () => addon.weight(model, Float64Array.of(0), 64, 64, 1, Float64Array.of(0, 1e300, 0, bytes)),
    "beyond any handle",
  );
  assert.equal(
    codeOf(() => addon.fileOpen(model, join(folder, "absent"))),
    "FILE_NOT_FOUND",
  );
  assert.equal(
    codeOf(() => addon.fileOpen(model, folder)),
    "FILE_IO",
  );
  assertWrongCall(() => addon.fileOpen(model, `${weights}\0x`));
  addon.seal(model);
  assertWrongCall(() => addon.tensor(model, 1, 1));
  assertWrongCall(() => addon.seal(model));
  addon.modelClose(model);
  assert.equal(
    codeOf(() => addon.modelOpen(1, null, 0, "vax")),
    "OPTION_INVALID",
  );
  assertWrongCall(() => addon.modelOpen(0, null, 0, null));
});

test("the row table is checked: positions, sequences, pages", { skip: skipAddon }, () => {
  const a = modelWithAll();
  begin(a.model, [0, 1, 2]);
  assertWrongCall(() => begin(a.model, [-1]));
  assertWrongCall(() => begin(a.model, [5, 5]));
  assertWrongCall(() => begin(a.model, [768]), "beyond the table");
  assertWrongCall(() => begin(a.model, [2 ** 31 - 1]));
  assertWrongCall(() => begin(a.model, [300], [0, -1, 2]), "the row's own page is absent");
  assertWrongCall(() => begin(a.model, [0], [3]), "a page beyond the pool");
  assertWrongCall(() => begin(a.model, [0], [-2]));
  assertWrongCall(() => addon.begin(a.model, 2, i32(1), i32(0, 1), i32(0, 0), 1, [], i32()));
  assertWrongCall(() => addon.begin(a.model, 1, i32(1), i32(0), i32(1), 1, [], i32()), "a sequence that is not there");
  assertWrongCall(() => addon.begin(a.model, 1, i32(1), i32(0), i32(0), 2 ** 30, [i32(0)], i32(2 ** 22)));
  // A failed begin leaves no rows behind.
  assertWrongCall(() => addon.embed(a.model, a.x, a.plain, 1, 1, 0, i32()));
  begin(a.model, [0], [0], [64]);
  assertWrongCall(() => addon.embed(a.model, a.x, a.plain, 1, 1, 0, i32()), "a token id beyond the vocabulary");
  assertWrongCall(() => addon.embed(a.model, a.x, a.plain, 1, 1, 3, i32()), "no rows given");
  assertWrongCall(() => addon.embed(a.model, a.x, a.plain, 1, 1, 3, i32(-2)), "a row before the first");
  assertWrongCall(() => addon.embed(a.model, a.x, a.plain, 1, 1, 3, i32(2 ** 30)), "a row beyond the table");
  assertWrongCall(() => addon.embed(a.model, a.x, a.plain, 1, 1, 1, i32(0)), "rows given where positions tell");
  addon.embed(a.model, a.x, a.plain, 1, 1, 3, i32(-1));
  begin(a.model, [0], [0], [-1]);
  assertWrongCall(() => addon.embed(a.model, a.x, a.plain, 1, 1, 0, i32()));
  // Keys that a row would have to see are forgotten.
  begin(a.model, [600], [-1, 0, 1]);
  assertWrongCall(() => addon.attention(a.model, a.y, a.x, a.pool, 0, 1, 4, 1, 0, 0, 0, 0, 0, 0, 0, 0));
  addon.attention(a.model, a.y, a.x, a.pool, 0, 1, 4, 1, 200, 0, 0, 0, 0, 0, 0, 0);
  addon.modelClose(a.model);
});

test("verbs refuse shapes, rows and aliases that do not fit", { skip: skipAddon }, () => {
  const a = modelWithAll();
  begin(a.model, [0, 1]);
  const into = idsOf(productInto);
  const product = (...p: number[]) => addon.matmul(a.model, i32(...p), a.x, 2);
  product(a.y, a.plain, a.vector, 1, 0, 1);
  product(a.y, a.plain, 0, 0, 0, 1, a.y, a.plain, 0, into.silu, 0, 1);
  assertWrongCall(() => product(a.x, a.plain, 0, 0, 0, 1), "out is x");
  assertWrongCall(() => product(a.y, a.plain, 0, 0, 0, 1, a.y, a.plain, 0, 0, 0, 1), "the same out twice");
  assertWrongCall(() => product(a.y, a.plain, 0, into.silu, 0, 1), "a gate of nothing");
  assertWrongCall(() => product(a.y, a.plain, 0, 0, 0, 1, a.z, a.plain, 0, into.silu, 0, 1), "a gate elsewhere");
  assertWrongCall(
    () => product(a.y, a.plain, 0, 0, 0, 1, a.y, a.plain, 0, into.silu, 1, 1),
    "a gate along the other axis",
  );
  assertWrongCall(() => product(a.y, a.plain, 0, 9, 0, 1), "into nothing there is");
  assertWrongCall(() => product(a.y, a.plain, 0, 0, 0, 3), "heads of unequal rows");
  assertWrongCall(() => product(a.y, a.plain, 0, 0, 0, 2), "heads of another width");
  assertWrongCall(() => product(a.y, a.plain, 0, 0, 0, 0), "no heads");
  assertWrongCall(() => product(a.y, a.stacked, 0, 0, 0, 1), "a stack of experts");
  assertWrongCall(() => product(a.logits, a.plain, 0, 0, 0, 1), "another width");
  assertWrongCall(() => product(a.y, a.plain, 0, 0, 0), "an incomplete product");
  assertWrongCall(() => addon.matmul(a.model, new Int32Array(6 * 65), a.x, 1));
  assertWrongCall(() => addon.weightHeads(a.model, a.plain, 3), "heads of unequal rows");
  assertWrongCall(() => addon.weightHeads(a.model, a.stacked, 2), "heads of experts");
  assertWrongCall(() => addon.matmul(a.model, i32(a.y, a.plain, 0, 0, 0, 1), a.x, 9), "more rows than there are");
  assertWrongCall(() => addon.matmul(a.model, i32(a.y, a.plain, 0, 0, 0, 1), a.x, -1));
  assertWrongCall(() => addon.rmsNorm(a.model, a.y, a.logits, 0, 1, 1e-5));
  assertWrongCall(() => addon.rmsNorm(a.model, a.logits, a.logits, a.vector, 1, 1e-5));
  assertWrongCall(() => addon.headNorm(a.model, a.x, a.vector, 1, 3, 16, 1e-5));
  assertWrongCall(() => addon.rope(a.model, a.x, 2, 8, 8, a.rope), "more pairs than the head has");
  assertWrongCall(() => addon.rope(a.model, a.x, 3, 4, 16, a.rope), "more rows than the pass");
  assertWrongCall(() => addon.glu(a.model, a.y, a.x, a.z, 1, 3, 0));
  assertWrongCall(() => addon.glu(a.model, a.y, a.x, a.x, 1, 1, 7), "bounds of another activation");
  assertWrongCall(() => addon.temper(a.model, a.x, 1, 0.1, 0, 1), "no positions a step");
  assertWrongCall(() => addon.temper(a.model, a.x, 3, 0.1, 16, 1), "more rows than the pass");
  assertWrongCall(() => addon.centreHeads(a.model, a.x, 1, 3, 16, 1e-5));
  assertWrongCall(() => addon.xielu(a.model, a.x, 1, 1, 1, 1, 1), "a limit above 0");
  assertWrongCall(() => addon.sparsify(a.model, a.x, 9, 1));
  assertWrongCall(() => addon.matchSize(a.model, a.x, a.logits, 1));
  assertWrongCall(() => addon.multiplyVector(a.model, a.logits, a.vector, 1), "a vector wider than the row");
  assertWrongCall(
    () => addon.route(a.model, a.routing, a.logits, 1, 0, true, 1, 0, 0, 3, 1, 0),
    "groups that do not divide",
  );
  assertWrongCall(
    () => addon.route(a.model, a.routing, a.logits, 1, 0, true, 1, 0, 0, 4, 1, 0),
    "too few in the groups",
  );
  assertWrongCall(() => addon.softcap(a.model, a.x, 0, 1));
  assertWrongCall(() => addon.gather(a.model, a.y, a.x, i32(8)));
  assertWrongCall(() => addon.gather(a.model, a.x, a.x, i32(0)));
  assertWrongCall(() => addon.gather(a.model, a.y, a.x, new Int32Array(9)));
  assertWrongCall(() => addon.kvStore(a.model, a.pool, 1, a.x, a.y, 1));
  assertWrongCall(() => addon.kvStore(a.model, a.pool, 0, a.logits, a.y, 1));
  assertWrongCall(() => addon.kvCopyPage(a.model, a.pool, 0, 3));
  assertWrongCall(
    () => addon.attention(a.model, a.y, a.x, a.pool, 0, 2, 5, 1, 0, 0, 0, 0, 0, 0, 0, 0),
    "heads that KV heads do not divide",
  );
  assertWrongCall(() => addon.attention(a.model, a.x, a.x, a.pool, 0, 2, 4, 1, 0, 0, 0, 0, 0, 0, 0, 0));
  assertWrongCall(() => addon.attention(a.model, a.y, a.x, a.pool, 0, 2, 4, 1, -1, 0, 0, 0, 0, 0, 0, 0));
  assertWrongCall(
    () => addon.attention(a.model, a.y, a.x, a.pool, 0, 2, 4, 1, 0, 0, 0, 0, a.vector, 0, 0, 0),
    "64 slopes for 4 heads",
  );
  assertWrongCall(() => addon.attention(a.model, a.y, a.x, a.pool, 0, 2, 4, 1, 0, Number.NaN, 0, 0, 0, 0, 0, 0));
  assertWrongCall(
    () => addon.attention(a.model, a.y, a.x, a.pool, 0, 2, 4, 1, 0, 0, a.vector, 0, 0, 0, 0, 0),
    "64 sinks for 4 heads",
  );
  assertWrongCall(() => addon.tensorRead(a.model, a.x, 1, new Float32Array(63)));
  assertWrongCall(() => addon.tensorWrite(a.model, a.x, new Float32Array(8 * 64 + 64)));
  assertWrongCall(() => addon.tensorWrite(a.model, a.x, new Float32Array(63)));
  assertWrongCall(() => addon.weightRead(a.model, a.plain, 0, 64, 1, new Float32Array(64)));
  assertWrongCall(() => addon.weightRead(a.model, a.plain, 1, 0, 1, new Float32Array(64)));
  addon.modelClose(a.model);
});

test("slots: wrong pools, places that are read and written, states of other passes", { skip: skipAddon }, () => {
  const model = addon.modelOpen(2, null, 0, null);
  const delta = [1, 2, 8, 4, 1, 0, 1, 1, 0];
  const tail = [0, 1, 3, 16, 1, 0, 1, 0, 0];
  for (const wrong of [
    [1, 2, 8, 4, 3, 0, 1, 1, 0], // key heads that heads do not divide
    [1, 2, 8, 4, 1, 0, 3, 1, 0], // decays for some keys
    [1, 0, 8, 4, 1, 0, 1, 1, 0],
    [0, 2, 3, 16, 1, 0, 1, 0, 0], // a tail of two heads
    [0, 1, 64, 16, 1, 0, 1, 0, 0], // more taps than there may be
    [2, 1, 5, 16, 1, 0, 1, 0, 4], // sums of neither kind of block
    [2, 1, 4, 16, 1, 0, 1, 0, 0], // blocks of no rows
    [0, 1, 3, 16, 1, 0, 1, 0, 2], // a tail of blocks
    [3, 1, 4, 16, 1, 0, 1, 0, 2],
    delta.slice(1),
  ])
    assertWrongCall(() => addon.slotPool(model, i32(...wrong), 2, 1), `layer ${wrong}`);
  assertWrongCall(() => addon.slotPool(model, i32(...delta), 0, 1));
  assertWrongCall(() => addon.slotPool(model, i32(...delta), 2, -1));
  const pool = addon.slotPool(model, i32(...delta, ...tail), 3, 1);
  const tensor = (cols: number): number => addon.tensor(model, 4, cols);
  const [q, k, v, decay, out, x, y] = [tensor(8), tensor(8), tensor(8), tensor(2), tensor(8), tensor(16), tensor(16)];
  const taps = addon.vector(model, new Float32Array(64).fill(1));
  addon.seal(model);
  const rows = (positions: number[], sequences: number[]): void => {
    const count = positions.length;
    const most = Math.max(...sequences) + 1;
    addon.begin(model, count, i32(...positions.map(() => 0)), i32(...positions), i32(...sequences), most, [], i32());
  };
  const run = (n = 2): void => addon.recur(model, out, i32(q, k, v, decay, 0), pool, 0, 0, n);
  rows([0, 1], [0, 0]);
  assertWrongCall(() => run(), "a pass without slots");
  for (const slots of [[], [-1, 3, -1], [0, 1, -1], [-1, 0, 1], [-2, 0, -1]])
    assertWrongCall(() => addon.beginSlots(model, pool, i32(...slots), i32()), `slots ${slots}`);
  for (const marks of [[0], [2, 1], [0, 0], [0, 3], [0, 1, 0, 2], [1, 1, 0, 2]])
    assertWrongCall(() => addon.beginSlots(model, pool, i32(-1, 0, 0), i32(...marks)), `marks ${marks}`);
  addon.beginSlots(model, pool, i32(-1, 0, 0), i32(0, 1));
  run();
  assertWrongCall(() => run(1), "some rows only");
  assertWrongCall(() => addon.recur(model, out, i32(q, k, out, decay, 0), pool, 0, 0, 2), "out is an input");
  assertWrongCall(() => addon.recur(model, out, i32(q, k, v, decay, 0), pool, 1, 0, 2), "a tail");
  assertWrongCall(() => addon.recur(model, out, i32(q, k, v, v, 0), pool, 0, 0, 2), "as many decays as values");
  assertWrongCall(() => addon.recur(model, out, i32(q, k, v, decay, 0), pool, 0, taps, 2), "64 factors for 2 heads");
  addon.shortConv(model, y, x, pool, 1, taps, 0, 2);
  assertWrongCall(() => addon.shortConv(model, x, x, pool, 1, taps, 0, 2));
  assertWrongCall(() => addon.shortConv(model, y, x, pool, 0, taps, 0, 2), "matrices");
  assertWrongCall(() => addon.shortConv(model, y, x, pool, 1, taps, taps, 2), "a bias of 64 for 16 columns");
  for (const [from, to, keep, n] of [
    [0, 0, 0, 1],
    [0, 1, 1, 1],
    [0, 1, 0, 33],
    [-2, 1, 0, 1],
    [0, 3, 0, 1],
  ] as const)
    assertWrongCall(() => addon.replay(model, pool, from, to, keep, n));
  addon.replay(model, pool, -1, 2, 0, 2);
  rows([2, 0], [0, 1]);
  assertWrongCall(() => run(), "slots of the pass before");
  for (const slots of [
    [0, 1, -1, -1, 1, -1], // both write slot 1
    [0, 1, -1, -1, 0, -1], // one writes what the other reads
    [-1, 1, -1, -1, 2, -1], // position 2 without a past
    [0, 1, 0, -1, 2, 0],
  ])
    assertWrongCall(() => addon.beginSlots(model, pool, i32(...slots), i32()), `slots ${slots}`);
  addon.beginSlots(model, pool, i32(0, 1, -1, -1, 2, -1), i32());
  run();
  addon.modelClose(model);
});

test("experts need a routing of theirs; a router of NaNs picks experts that exist", { skip: skipAddon }, () => {
  const a = modelWithAll();
  const stack = i32(a.stacked, a.stacked, a.stacked, 0, 0, 0);
  const run = (weights: Int32Array, n = 8, out = a.y) =>
    addon.experts(a.model, out, a.x, a.routing, n, weights, 0, 0, false, i32(), new Float32Array(0));
  assertWrongCall(() => run(stack, 1), "a routing nobody filled");
  addon.tensorWrite(a.model, a.logits, new Float32Array(32).fill(Number.NaN));
  addon.tensorWrite(a.model, a.x, new Float32Array(512).fill(0.5));
  for (const score of [0, 1, 2, 3]) {
    addon.route(a.model, a.routing, a.logits, 8, score, true, 1, 0, 0, 1, 1, 0);
    const [ids, shares] = [new Int32Array(16), new Float32Array(16)];
    addon.routingRead(a.model, a.routing, 8, ids, shares);
    for (let t = 0; t < 8; t++)
      assert.deepEqual([...ids.subarray(2 * t, 2 * t + 2)], [0, 1], "ties and NaNs: lowest ids");
    run(stack);
  }
  assertWrongCall(() => run(i32(a.plain, a.plain, a.plain, 0, 0, 0)), "ids beyond");
  assertWrongCall(() => run(stack, 8, a.x));
  assertWrongCall(() => run(i32(a.stacked, a.stacked, a.stacked, a.vector, 0, 0)));
  assertWrongCall(() => addon.route(a.model, a.routing, a.logits, 8, 4, true, 1, 0, 0, 1, 1, 0));
  assertWrongCall(() => addon.route(a.model, a.routing, a.logits, 8, 0, true, 1, a.vector, 0, 1, 1, 0));
  addon.modelClose(a.model);
});

test("20,000 random calls: an error or an answer, never a crash", { skip: skipAddon, timeout: 60_000 }, () => {
  let state = 12345;
  const random = (below: number) => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  const a = modelWithAll(2);
  begin(a.model, [0, 255, 256, 700]);
  const hostile: unknown[] = [
    ...[0, 1, 2, 3, -1, 1.5, 2 ** 31, -(2 ** 31), 2 ** 53, Number.NaN, Infinity, "4", null, undefined, true, {}, []],
    ...[new Int32Array(0), i32(1, 2, 3, 4), new Float32Array(64), new Float64Array(5), new Uint8Array(64)],
    ...[i32(-1, 2 ** 30), [i32(0)], new Float32Array(512), new Int32Array(16), new Float32Array(16), 1n, Symbol("s")],
  ];
  const handles = Object.values(a).filter((v) => v !== a.model);
  // Or change the process for good: its limit of memory.
  const closing = [
    "limitMemory",
    "modelOpen",
    "modelClose",
    "setErrorClass",
    "isa",
    "isas",
    "cpuInfo",
    "modelSetCancel",
    "fileOpen",
    "promisedBytes",
  ];
  // These take as long as they are told to, seconds by design; src/weights/probe.test.ts calls them wrongly.
  const slow = ["memoryRate", "gemmRate", "attentionRate", "gateRate"];
  // These act on the process that runs the test.
  const ours = ["limitMemory", "lockFile"];
  const names = Object.keys(addon).filter((n) => ![...closing, ...slow, ...ours].includes(n)) as (keyof NativeAddon)[];
  const arity: Record<string, number> = {};
  const outcomes = { answers: 0, errors: 0 };
  for (let i = 0; i < 20_000; i++) {
    const name = names[random(names.length)]!;
    const call = addon[name] as (...args: unknown[]) => unknown;
    // The number of arguments is learnt from the error once, so that later calls get past it.
    arity[name] ??= Number(/(\d+) arguments expected/.exec(messageOf(() => call(...new Array(30)))!)![1]);
    const first = name === "dequantize" || name === "dot" ? [] : [a.model];
    const rest = Array.from({ length: arity[name] - first.length }, () =>
      random(4) === 0 ? hostile[random(hostile.length)] : random(3) === 0 ? random(9) : handles[random(handles.length)],
    );
    try {
      call(...first, ...rest);
      outcomes.answers++;
    } catch (error) {
      assert.ok(error instanceof HundredweightError, `${name}: ${error}`);
      outcomes.errors++;
    }
  }
  assert.ok(outcomes.answers > 100 && outcomes.errors > 1000, JSON.stringify(outcomes));
  addon.keepThreadSpans(0);
  addon.modelClose(a.model);
});

function messageOf(body: () => unknown): string | undefined {
  try {
    body();
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

test("a cancel flag must be shared, and stops long verbs", { skip: skipAddon }, () => {
  const a = modelWithAll();
  assertWrongCall(() => addon.modelSetCancel(a.model, new Int32Array(1)));
  assertWrongCall(() => addon.modelSetCancel(a.model, new Int32Array(new SharedArrayBuffer(0))));
  const flag = new Int32Array(new SharedArrayBuffer(4));
  addon.modelSetCancel(a.model, flag);
  const matmul = () => addon.matmul(a.model, i32(a.y, a.plain, 0, 0, 0, 1), a.x, 8);
  matmul();
  flag[0] = 1;
  assert.equal(codeOf(matmul), "CANCELLED");
  begin(a.model, [0]);
  assert.equal(
    codeOf(() => addon.attention(a.model, a.y, a.x, a.pool, 0, 1, 4, 1, 0, 0, 0, 0, 0, 0, 0, 0)),
    "CANCELLED",
  );
  addon.modelSetCancel(a.model, null);
  matmul();
  addon.modelClose(a.model);
});

test("another thread's flag interrupts a running matmul", { skip: skipAddon, timeout: 30_000 }, async () => {
  const rows = 4096;
  const file = join(folder, "large.bin");
  writeFileSync(file, new Uint8Array(rows * 4096 * 2)); // f16 zeros
  const model = addon.modelOpen(1, null, 0, "scalar"); // slow on purpose: seconds without the flag
  const weight = addon.weight(
    model,
    Float64Array.of(1),
    rows,
    4096,
    1,
    Float64Array.of(0, addon.fileOpen(model, file), 0, 2 * rows * 4096),
  );
  const [x, out] = [addon.tensor(model, 64, 4096), addon.tensor(model, 64, rows)];
  addon.seal(model);
  const flag = new Int32Array(new SharedArrayBuffer(8));
  addon.modelSetCancel(model, flag);
  const worker = new Worker(
    `const { workerData } = require("node:worker_threads");
     Atomics.store(workerData, 1, 1); Atomics.notify(workerData, 1);
     setTimeout(() => Atomics.store(workerData, 0, 1), 30);`,
    { eval: true, workerData: flag },
  );
  Atomics.wait(flag, 1, 0, 10_000);
  assert.equal(
    codeOf(() => addon.matmul(model, i32(out, weight, 0, 0, 0, 1), x, 64)),
    "CANCELLED",
  );
  await worker.terminate();
  addon.modelClose(model);
});

test("a worker that is terminated releases its models", { skip: skipAddon, timeout: 30_000 }, async () => {
  const path = addonStatus().path!;
  const source = `
    const { parentPort, workerData } = require("node:worker_threads");
    const addon = require(workerData);
    const model = addon.modelOpen(3, null, 0, null);
    addon.kvPool(model, Int32Array.of(8, 64, 64, 0), 0, 0, false, 64, 64, 1);
    addon.tensor(model, 1024, 1024);
    addon.seal(model);
    const flag = new Int32Array(new SharedArrayBuffer(4));
    addon.modelSetCancel(model, flag);
    parentPort.postMessage("ready");
    setInterval(() => {}, 1000);`;
  const threads = () => (process.platform === "linux" ? taskCount() : 0);
  const before = threads();
  for (let i = 0; i < 3; i++) {
    const worker = new Worker(source, { eval: true, workerData: path });
    await new Promise((resolve) => worker.once("message", resolve));
    await worker.terminate();
  }
  assert.ok(threads() <= before, `${threads()} threads after, ${before} before`);
});

function taskCount(): number {
  // Node's own threads come and go; ours have a name.
  return readdirSync("/proc/self/task").filter((id) => {
    try {
      return readFileSync(`/proc/self/task/${id}/comm`, "utf8").trim() === "hundredweight";
    } catch {
      return false;
    }
  }).length;
}

test("malloc's thresholds have a floor: a process of a mapping for each block would soon have no more", {
  skip: skipAddon,
}, () => {
  assertWrongCall(() => addon.boundMalloc(1, 2 ** 20));
  assertWrongCall(() => addon.boundMalloc(2 ** 20, 0));
});

test("a view is the tensor's memory, one for each, and empty once the model is closed", { skip: skipAddon }, () => {
  const a = modelWithAll();
  const view = addon.tensorView(a.model, a.x);
  assert.equal(view.length, 8 * 64);
  assert.equal(addon.tensorView(a.model, a.x), view);
  assert.notEqual(addon.tensorView(a.model, a.y), view);
  addon.tensorWrite(a.model, a.x, new Float32Array(64).fill(7));
  assert.equal(view[63], 7);
  view[64] = 9;
  const read = new Float32Array(2 * 64);
  addon.tensorRead(a.model, a.x, 2, read);
  assert.equal(read[64], 9);
  assertWrongCall(() => addon.tensorView(a.model, a.vector));
  assertWrongCall(() => addon.tensorView(a.model, 99));
  addon.modelClose(a.model);
  assert.equal(view.length, 0);
  assert.equal(
    codeOf(() => addon.tensorView(a.model, a.x)),
    "ENGINE_CLOSED",
  );
});

test("a thread that ends with views of its tensors leaves nothing that crashes", { skip: skipAddon }, async () => {
  const source = `
    const { parentPort, workerData } = require("node:worker_threads");
    const module = { exports: {} };
    process.dlopen(module, workerData.path);
    const addon = module.exports;
    const model = addon.modelOpen(1, null, 0, null);
    globalThis.view = addon.tensorView(model, addon.tensor(model, 64, 4096));
    globalThis.view[5] = 1;
    parentPort.postMessage(globalThis.view.length);
    setInterval(() => globalThis.view[6]++, 1);`;
  for (const terminate of [true, false]) {
    const worker = new Worker(terminate ? source : source.replace(/setInterval.*/, ""), {
      eval: true,
      workerData: { path: addonStatus().path },
    });
    const ended = new Promise((resolve) => worker.once("exit", resolve));
    assert.equal(await new Promise((resolve) => worker.once("message", resolve)), 64 * 4096);
    if (terminate) await worker.terminate();
    await ended;
  }
});

test("the best logits: arrays must hold them, marks must be for every one", { skip: skipAddon }, () => {
  const row = Float32Array.of(1, 5, 3);
  const [ids, logits] = [new Int32Array(2), new Float64Array(2)];
  assert.equal(addon.bestLogits(row, null, 2, ids, logits), 2);
  assert.deepEqual([...ids], [2, 1]);
  assert.deepEqual([...logits], [3, 5]);
  assert.equal(addon.bestLogits(row, Uint8Array.of(0, 1, 1), 2, ids, logits), 1);
  assertWrongCall(() => addon.bestLogits(row, null, 3, ids, logits));
  assertWrongCall(() => addon.bestLogits(row, null, 0, ids, logits));
  assertWrongCall(() => addon.bestLogits(row, new Uint8Array(2), 2, ids, logits));
});

test("a build of another version is refused when it is loaded, and says what it lacks", { skip: skipAddon }, (t) => {
  const foreign = anyAddon(join(packageRoot(), "node_modules"));
  if (foreign === undefined) return t.skip("no other addon is installed to be taken for an old build");
  const program = `const { createOps } = await import(${JSON.stringify(new URL("../ops/index.js", import.meta.url).href)});
    try { createOps(); console.log("made"); } catch (error) { console.log(error.code + " " + error.message); }`;
  const child = spawnSync(process.execPath, ["--import", "tsx", "--input-type=module", "-e", program], {
    encoding: "utf8",
    cwd: packageRoot(),
    env: { ...process.env, HUNDREDWEIGHT_NATIVE: foreign },
  });
  assert.match(
    child.stdout,
    /^NATIVE_UNAVAILABLE .* is of another version .* lacks setErrorClass, .*npm run build:native/,
  );
});

function anyAddon(folder: string): string | undefined {
  const name = readdirSync(folder, { recursive: true }).find((path) => String(path).endsWith(".node"));
  return name === undefined ? undefined : join(folder, String(name));
}
