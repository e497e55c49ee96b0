/** Pinning, ring, expert slots through the addon: wrong calls are errors, right ones give the rows of the file. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { addon, assertWrongCall, codeOf, i32, skipAddon } from "../../test/support/addon.js";
import type { NativePlacement } from "./addon.types.js";
import { activations, expertPolicyNumbers, glus, readRates, residencyCounters } from "./boundary.js";
import { idsOf, NamedNumbers } from "./named-numbers.js";

const folder = mkdtempSync(join(tmpdir(), "hundredweight-placed-"));
after(() => rmSync(folder, { recursive: true, force: true }));
const [rows, cols, experts] = [300, 64, 4];
const values = Float32Array.from({ length: 24 + rows * cols * experts }, (_, i) => Math.sin(i));
const path = join(folder, "weights.bin");
writeFileSync(path, new Uint8Array(values.buffer));
const offset = 96;

function unmapped(direct = true) {
  const model = addon.modelOpen(2, null, 0, null);
  const file = addon.fileOpenUnmapped(model, path, direct);
  const plain = () =>
    addon.weight(model, Float64Array.of(0), rows, cols, 1, Float64Array.of(0, file, offset, 4 * rows * cols));
  const stacked = (r = rows, c = cols) =>
    addon.weight(model, Float64Array.of(0), r, c, experts, Float64Array.of(0, file, offset, 4 * r * c * experts));
  return { model, file, plain, stacked };
}

const nothing: NativePlacement = {
  engine: 0,
  depth: 8,
  pinned: i32(),
  packed: false,
  ringBytes: 2 ** 20,
  tiles: i32(),
  groups: i32(),
  classes: i32(),
  stagingBytes: 0,
  policy: Float64Array.from(expertPolicyNumbers, () => 1),
  uses: new Float32Array(0),
  lock: false,
};

test("rows come from memory, ring and disk alike", { skip: skipAddon }, () => {
  for (const engine of [1, 2])
    for (const pinned of [0, 7, rows]) {
      const { model, plain } = unmapped(pinned !== 7);
      const [weight, onDisk] = [plain(), plain()];
      const name = addon.place(model, {
        ...nothing,
        engine,
        depth: 3,
        pinned: pinned > 0 ? i32(weight, pinned) : i32(),
        packed: pinned === 7,
        tiles: pinned < rows ? i32(weight, pinned, 200, weight, 200, rows) : i32(),
        lock: pinned === rows,
      });
      assert.ok(name === "io_uring" || name === "threads");
      const [x, out] = [addon.tensor(model, 1, cols), addon.tensor(model, 1, rows)];
      addon.seal(model);
      const one = new Float32Array(cols);
      one[5] = 1; // picks column 5, exactly
      addon.tensorWrite(model, x, one);
      const got = new Float32Array(rows);
      for (let pass = 0; pass < 3; pass++) {
        addon.readerDepth(model, [1, 6, 64][pass]!); // while it runs
        addon.matmul(model, i32(out, weight, 0, 0, 0, 1), x, 1);
        addon.tensorRead(model, out, 1, got);
        for (let r = 0; r < rows; r++) assert.equal(got[r], values[24 + r * cols + 5]);
      }
      for (const from of [weight, onDisk]) {
        addon.weightRead(model, from, 0, 150, 1, one);
        assert.deepEqual(one, values.slice(24 + 150 * cols, 24 + 151 * cols));
      }
      assertWrongCall(() => addon.matmul(model, i32(out, onDisk, 0, 0, 0, 1), x, 1), "a weight that is not in memory");
      const stats = new NamedNumbers(residencyCounters);
      addon.residencyCounters(model, stats.values);
      assert.equal(stats.get("tiles"), pinned === rows ? 0 : 6);
      assert.equal(stats.get("bytesUsedFromMemory"), 3 * pinned * cols * 4);
      assert.ok(stats.get("bytesRead") >= rows * cols * 4);
      addon.modelClose(model);
    }
});

test("wrong placements are refused, and leave the model as it was", { skip: skipAddon }, () => {
  const { model, plain, stacked } = unmapped();
  const weight = plain();
  const place = (change: Partial<Record<keyof NativePlacement, unknown>>) =>
    addon.place(model, { ...nothing, ...change } as NativePlacement);
  const wrong: [Partial<Record<keyof NativePlacement, unknown>>, string][] = [
    [{ engine: 3 }, "engine"],
    [{ depth: 0 }, "depth"],
    [{ pinned: i32(weight, rows + 1) }, "more rows than there are"],
    [{ pinned: i32(weight, 0) }, "no rows"],
    [{ pinned: i32(weight) }, "half a pin"],
    [{ pinned: i32(stacked(), 5) }, "a part of experts"],
    [{ pinned: i32(999, 1) }, "no such weight"],
    [{ pinned: i32(weight, 10, weight, 10) }, "twice"],
    [{ pinned: i32(weight, 10) }, "nobody brings the other rows"],
    [{ tiles: i32(weight, 0) }, "half a tile"],
    [{ tiles: i32(weight, 0, 10) }, "rows left over"],
    [{ tiles: i32(weight, 0, 200, weight, 150, rows) }, "overlapping tiles"],
    [{ tiles: i32(weight, 0, rows, weight, 0, rows) }, "tiles twice"],
    [{ tiles: i32(weight, 0, 200, plain(), 0, rows, weight, 200, rows) }, "tiles apart"],
    [{ tiles: i32(stacked(), 0, rows) }, "experts in a ring"],
    [{ pinned: i32(weight, 10), tiles: i32(weight, 20, rows) }, "rows 10 to 20 are missing"],
    [{ pinned: null }, "a field of another type"],
    [{ pinned: new Float64Array(2) }, "an array of another type"],
    [{ tiles: undefined }, "a field that is missing"],
    [{ ringBytes: "much" }, "a text for a number"],
  ];
  for (const [change, what] of wrong) assertWrongCall(() => place(change), what);
  assertWrongCall(() => addon.place(model, 5 as never), "no object");
  assert.equal(
    codeOf(() => place({ ringBytes: 65536, tiles: i32(weight, 0, rows) })),
    "MEMORY_BUDGET",
  );
  assertWrongCall(() => addon.readerDepth(model, 8), "no reader yet");
  assertWrongCall(() => addon.residencyCounters(model, new Float64Array(3)), "short statistics");
  place({ pinned: i32(weight, 10), tiles: i32(weight, 10, rows) });
  assertWrongCall(() => place({}), "placed twice");
  addon.modelClose(model);

  const mapped = addon.modelOpen(1, null, 0, null);
  const known = addon.weight(
    mapped,
    Float64Array.of(0),
    rows,
    cols,
    1,
    Float64Array.of(0, addon.fileOpen(mapped, path), offset, 4 * rows * cols),
  );
  assertWrongCall(() => addon.place(mapped, { ...nothing, pinned: i32(known, 5) }), "mapped and pinned");
  addon.modelClose(mapped);
});

test("wrong expert slots are refused", { skip: skipAddon }, () => {
  const { model, stacked } = unmapped();
  const [gate, up, down] = [stacked(64), stacked(64), stacked(64)];
  const open = (groups: number[], classes: number[], staging = 0, more: Partial<NativePlacement> = {}) =>
    addon.place(model, {
      ...nothing,
      groups: Int32Array.from(groups),
      classes: Int32Array.from(classes),
      stagingBytes: staging,
      ...more,
    });
  assertWrongCall(() => open([3, gate, up], [2, 1, 0]), "two of three");
  assertWrongCall(() => open([0], [2, 1, 0]), "no matrix");
  assertWrongCall(() => open([3, gate, up, 999], [2, 1, 0]), "no such weight");
  assertWrongCall(() => open([3, gate, up, down], []), "no class");
  assertWrongCall(() => open([3, gate, up, down], [2, 1, 1]), "no such group");
  assertWrongCall(() => open([3, gate, up, down], [2, 5, 0]), "a class that ends early");
  assertWrongCall(() => open([3, gate, up, down], [-1, 1, 0]), "slots below zero");
  assertWrongCall(() => open([3, gate, up, down], [2, 1, 0], -1), "staging below zero");
  assertWrongCall(() => open([3, gate, up, down], [2, 1, 0], 0, { pinned: i32(up, 64) }), "slots and pinned");
  assertWrongCall(() => open([3, gate, up, up], [2, 1, 0]), "a matrix twice");
  const policies: [number, number][] = [
    [0, 0],
    [1, 0.5],
    [4, 1.5],
    [5, Number.NaN],
  ];
  for (const [which, number] of policies) {
    const policy = nothing.policy.slice();
    policy[which] = number;
    assertWrongCall(() => open([3, gate, up, down], [2, 1, 0], 0, { policy }), `policy ${which} of ${number}`);
  }
  assertWrongCall(() => open([3, gate, up, down], [2, 1, 0], 0, { policy: new Float64Array(2) }), "a short policy");
  for (const uses of [Float32Array.of(0.5), new Float32Array(1000).fill(2)])
    assertWrongCall(() => open([3, gate, up, down], [2, 1, 0], 0, { uses }), "uses of other experts");
  assert.equal(
    codeOf(() => open([3, gate, up, down], [0, 1, 0])),
    "MEMORY_BUDGET",
  );
  addon.modelClose(model);
});

test("experts in slots give what resident experts give, with a gate and without", { skip: skipAddon }, () => {
  const [n, topK] = [5, 2];
  const run = (model: number, weights: number[], kind: number): Float32Array => {
    const tensor = (width: number) => addon.tensor(model, n, width);
    const [x, out, logits] = [tensor(cols), tensor(cols), tensor(experts)];
    const routing = addon.routing(model, n, topK);
    addon.seal(model);
    const wave = (count: number, f: (i: number) => number) => Float32Array.from({ length: count }, (_, i) => f(i));
    addon.tensorWrite(model, x, wave(n * cols, Math.cos));
    addon.tensorWrite(
      model,
      logits,
      wave(n * experts, (i) => Math.sin(3 * i)),
    );
    addon.route(model, routing, logits, n, 0, true, 1, 0, 0, 1, 1, 0);
    const all = Int32Array.from([...weights, 0, 0, 0]);
    addon.experts(model, out, x, routing, n, all, kind, 0, false, new Int32Array(0), new Float32Array(0));
    const got = new Float32Array(n * cols);
    addon.tensorRead(model, out, n, got);
    addon.modelClose(model);
    return got;
  };
  for (const gated of [true, false]) {
    const kind = gated ? idsOf(glus).silu : idsOf(activations).relu2;
    const { model, stacked } = unmapped();
    const [gate, up, down] = [gated ? stacked(64) : 0, stacked(64), stacked(64)];
    const group = gated ? [3, down, gate, up] : [2, down, up]; // any order
    addon.place(model, { ...nothing, groups: Int32Array.from(group), classes: i32(2, 1, 0) });
    const got = run(model, [gate, up, down], kind);
    const resident = addon.modelOpen(1, null, 0, null);
    const file = addon.fileOpen(resident, path);
    const same = () =>
      addon.weight(
        resident,
        Float64Array.of(0),
        64,
        cols,
        experts,
        Float64Array.of(0, file, offset, 256 * cols * experts),
      );
    assert.deepEqual(got, run(resident, [gated ? same() : 0, same(), same()], kind), `gated: ${gated}`);
  }
});

test("read rates: of what is asked for, refused where it is not there", { skip: skipAddon }, () => {
  const rates = new NamedNumbers(readRates);
  const out = rates.values;
  for (const direct of [true, false]) {
    addon.readRate(path, direct, 0, 2, 65536, Float64Array.of(0, 100000, 5000, 200000), out);
    assert.ok(rates.get("seconds") > 0 && rates.get("bytes") >= 300000, [...out].join());
    assert.ok(rates.get("direct") <= Number(direct));
  }
  assertWrongCall(() => addon.readRate(path, true, 0, 2, 65536, Float64Array.of(0, 1e9), out), "beyond the end");
  assertWrongCall(() => addon.readRate(path, true, 0, 2, 65536, Float64Array.of(Number.NaN, 1), out), "no number");
  assert.equal(
    codeOf(() => addon.readRate(join(folder, "none"), true, 0, 2, 65536, new Float64Array(0), out)),
    "FILE_NOT_FOUND",
  );
});
