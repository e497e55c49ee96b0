/** Pinning, ring, expert slots through the addon: wrong calls are errors, right ones give the rows of the file. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { addon, assertWrongCall, codeOf, i32, skipAddon } from "../../test/support/addon.js";

const folder = mkdtempSync(join(tmpdir(), "hundredweight-placed-"));
after(() => rmSync(folder, { recursive: true, force: true }));
const [rows, cols, experts] = [300, 64, 4];
const values = Float32Array.from({ length: 24 + rows * cols * experts }, (_, i) => Math.sin(i));
const path = join(folder, "weights.bin");
writeFileSync(path, new Uint8Array(values.buffer));
const offset = 96;

function unmapped(direct = true) {
  const host = addon.hostOpen(2, null, null);
  const file = addon.fileOpenUnmapped(host, path, direct);
  const plain = () => addon.weight(host, 0, rows, cols, 1, Float64Array.of(0, file, offset, 4 * rows * cols));
  const stacked = (r = rows, c = cols) =>
    addon.weight(host, 0, r, c, experts, Float64Array.of(0, file, offset, 4 * r * c * experts));
  return { host, file, plain, stacked };
}

test("rows come from memory, ring and disk alike", { skip: skipAddon }, () => {
  for (const engine of [1, 2])
    for (const pinned of [0, 7, rows]) {
      const { host, plain } = unmapped(pinned !== 7);
      const [weight, onDisk] = [plain(), plain()];
      const name = addon.readerOpen(host, engine, 3);
      assert.ok(name === "io_uring" || name === "threads");
      if (pinned > 0) addon.weightPin(host, weight, pinned, pinned === 7);
      if (pinned < rows) addon.ringOpen(host, 2 ** 20, i32(weight, pinned, 200, weight, 200, rows));
      addon.residencyLoad(host, pinned === rows);
      const [x, out] = [addon.tensor(host, 1, cols), addon.tensor(host, 1, rows)];
      addon.seal(host);
      const one = new Float32Array(cols);
      one[5] = 1; // picks column 5, exactly
      addon.tensorWrite(host, x, one);
      const got = new Float32Array(rows);
      for (let pass = 0; pass < 3; pass++) {
        addon.readerDepth(host, [1, 6, 64][pass]!); // while it runs
        addon.matmul(host, i32(out, weight, 0, 0, 0, 1), x, 1);
        addon.tensorRead(host, out, 1, got);
        for (let r = 0; r < rows; r++) assert.equal(got[r], values[24 + r * cols + 5]);
      }
      for (const from of [weight, onDisk]) {
        addon.weightRead(host, from, 0, 150, 1, one);
        assert.deepEqual(one, values.slice(24 + 150 * cols, 24 + 151 * cols));
      }
      assertWrongCall(() => addon.matmul(host, i32(out, onDisk, 0, 0, 0, 1), x, 1), "a weight that is not in memory");
      const stats = new Float64Array(14);
      addon.residencyStats(host, stats);
      assert.equal(stats[2], pinned === rows ? 0 : 6, "tiles");
      assert.equal(stats[13], 3 * pinned * cols * 4, "bytes used from memory");
      assert.ok(stats[0]! >= rows * cols * 4, "bytes read");
      addon.hostClose(host);
    }
});

test("wrong placements are refused", { skip: skipAddon }, () => {
  const { host, plain, stacked } = unmapped();
  const weight = plain();
  assertWrongCall(() => addon.readerOpen(host, 3, 8), "engine");
  assertWrongCall(() => addon.readerOpen(host, 0, 0), "depth");
  assertWrongCall(() => addon.readerDepth(host, 8), "no reader yet");
  assertWrongCall(() => addon.weightPin(host, weight, rows + 1, false), "more rows than there are");
  assertWrongCall(() => addon.weightPin(host, weight, 0, false), "no rows");
  assertWrongCall(() => addon.weightPin(host, stacked(), 5, false), "a part of experts");
  assertWrongCall(() => addon.weightPin(host, 999, 1, false), "no such weight");
  assertWrongCall(() => addon.ringOpen(host, 2 ** 20, i32(weight, 0)), "half a tile");
  assertWrongCall(() => addon.ringOpen(host, 2 ** 20, i32(weight, 0, 10)), "rows left over");
  assertWrongCall(() => addon.ringOpen(host, 2 ** 20, i32(weight, 0, 200, weight, 150, rows)), "overlapping tiles");
  assertWrongCall(() => addon.ringOpen(host, 2 ** 20, i32(stacked(), 0, rows)), "experts in a ring");
  assert.equal(
    codeOf(() => addon.ringOpen(host, 65536, i32(weight, 0, rows))),
    "MEMORY_BUDGET",
  );
  addon.weightPin(host, weight, 10, false);
  assertWrongCall(() => addon.weightPin(host, weight, 10, false), "twice");
  assertWrongCall(() => addon.residencyLoad(host, false), "nobody brings the other rows");
  addon.ringOpen(host, 2 ** 20, i32(weight, 20, rows));
  assertWrongCall(() => addon.ringOpen(host, 2 ** 20, i32(plain(), 0, rows)), "a second ring");
  assertWrongCall(() => addon.residencyLoad(host, false), "rows 10 to 20 are missing");
  assertWrongCall(() => addon.residencyStats(host, new Float64Array(3)), "short statistics");
  addon.hostClose(host);

  const mapped = addon.hostOpen(1, null, null);
  const known = addon.weight(
    mapped,
    0,
    rows,
    cols,
    1,
    Float64Array.of(0, addon.fileOpen(mapped, path), offset, 4 * rows * cols),
  );
  assertWrongCall(() => addon.weightPin(mapped, known, 5, false), "mapped and pinned");
  addon.hostClose(mapped);
});

test("wrong expert slots are refused, right ones give what resident experts give", { skip: skipAddon }, () => {
  const { host, stacked } = unmapped();
  const [gate, up, down] = [stacked(64), stacked(64), stacked(64)];
  const open = (groups: number[], classes: number[], staging = 0) =>
    addon.expertsOpen(host, Int32Array.from(groups), Int32Array.from(classes), staging);
  assertWrongCall(() => open([3, gate, up], [2, 1, 0]), "two of three");
  assertWrongCall(() => open([0], [2, 1, 0]), "no matrix");
  assertWrongCall(() => open([3, gate, up, 999], [2, 1, 0]), "no such weight");
  assertWrongCall(() => open([3, gate, up, down], []), "no class");
  assertWrongCall(() => open([3, gate, up, down], [2, 1, 1]), "no such group");
  assertWrongCall(() => open([3, gate, up, down], [2, 5, 0]), "a class that ends early");
  assertWrongCall(() => open([3, gate, up, down], [-1, 1, 0]), "slots below zero");
  assertWrongCall(() => open([3, gate, up, down], [2, 1, 0], -1), "staging below zero");
  assert.equal(
    codeOf(() => open([3, gate, up, down], [0, 1, 0])),
    "MEMORY_BUDGET",
  );

  const run = (h: number, weights: number[], load: () => void): Float32Array => {
    load();
    const [n, topK] = [5, 2];
    const [x, out, logits] = [addon.tensor(h, n, cols), addon.tensor(h, n, cols), addon.tensor(h, n, experts)];
    const routing = addon.routing(h, n, topK);
    addon.seal(h);
    addon.tensorWrite(
      h,
      x,
      Float32Array.from({ length: n * cols }, (_, i) => Math.cos(i)),
    );
    addon.tensorWrite(
      h,
      logits,
      Float32Array.from({ length: n * experts }, (_, i) => Math.sin(3 * i)),
    );
    addon.route(h, routing, logits, n, 0, true, 1, 0);
    addon.experts(h, out, x, routing, n, Int32Array.from([...weights, 0, 0, 0]), 0);
    const got = new Float32Array(n * cols);
    addon.tensorRead(h, out, n, got);
    addon.hostClose(h);
    return got;
  };
  const got = run(host, [gate, up, down], () => {
    open([3, down, gate, up], [2, 1, 0]); // any order
    addon.residencyLoad(host, false);
  });
  const resident = addon.hostOpen(1, null, null);
  const file = addon.fileOpen(resident, path);
  const same = () =>
    addon.weight(resident, 0, 64, cols, experts, Float64Array.of(0, file, offset, 256 * cols * experts));
  assert.deepEqual(
    got,
    run(resident, [same(), same(), same()], () => {}),
  );
});

test("read rates: of what is asked for, refused where it is not there", { skip: skipAddon }, () => {
  const out = new Float64Array(3);
  for (const direct of [true, false]) {
    addon.readRate(path, direct, 0, 2, 65536, Float64Array.of(0, 100000, 5000, 200000), out);
    assert.ok(out[0]! > 0 && out[1]! >= 300000 && out[2]! <= Number(direct), [...out].join());
  }
  assertWrongCall(() => addon.readRate(path, true, 0, 2, 65536, Float64Array.of(0, 1e9), out), "beyond the end");
  assertWrongCall(() => addon.readRate(path, true, 0, 2, 65536, Float64Array.of(Number.NaN, 1), out), "no number");
  assert.equal(
    codeOf(() => addon.readRate(join(folder, "none"), true, 0, 2, 65536, new Float64Array(0), out)),
    "FILE_NOT_FOUND",
  );
});
