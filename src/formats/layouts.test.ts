import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { dtypeByName, dtypes } from "./dtypes.js";
import {
  checkPlanes,
  type Extent,
  expertPlaneBytes,
  type Layout,
  layoutBytes,
  type PlaneLayout,
  segmentsOf,
  sliceExtents,
  slicesOf,
  storedBytes,
} from "./layouts.js";
import { planeLayouts } from "./plane-layouts.js";

/** Cells of random size: every slice must be contiguous in every plane, whatever they are. */
const layouts: fc.Arbitrary<Layout> = fc
  .record({
    order: fc.constantFrom("rows" as const, "inputs" as const),
    cells: fc.array(
      fc.record({
        rows: fc.constantFrom(1, 2, 8),
        cols: fc.constantFrom(1, 8, 32, 64, 96),
        bytes: fc.integer({ min: 1, max: 40 }),
        whole: fc.boolean(),
        all: fc.boolean(),
      }),
      { minLength: 1, maxLength: 4 },
    ),
  })
  .map(({ order, cells }) => ({
    id: 5000,
    name: "random",
    order,
    // The first is cut; whole planes come last.
    planes: cells
      .map(({ rows, cols, bytes, whole, all }, i) => {
        const name = `plane ${i}`;
        if (i === 0 || !whole) return { name, rows, cols, bytes };
        return { name, rows: all ? 0 : rows, cols, bytes, whole };
      })
      .sort((a, b) => Number("whole" in a) - Number("whole" in b)),
  }));

test("segments of a plain matrix: what lies together, the same in all planes", () => {
  const layout = planeLayouts.find(({ name }) => name === "PACKED4_G64_ASYM")!;
  const [rows, cols] = [64, 128];
  const { count, planeBytes } = slicesOf(layout, rows, cols);
  const cut = (shares: readonly number[], i: number): Extent[] =>
    shares.map((share, s) => ({ file: `file ${s}`, offset: 100 * s, bytes: share * planeBytes[i]! }));
  const weight = (...shares: readonly (readonly number[])[]) => {
    const planes = Object.fromEntries(layout.planes.map(({ name }, i) => [name, cut(shares[i] ?? shares[0]!, i)]));
    return { name: "w", layout, rows, cols, experts: 1, planes };
  };
  const parted = weight([1, 4, count - 5]);
  checkPlanes(parted);
  assert.deepEqual(segmentsOf(parted), [0, 1, 5, count]);
  const third = sliceExtents(parted, 0, 2, 5)[0]!;
  assert.deepEqual(third, { file: "file 1", offset: 100 + planeBytes[0]!, bytes: 3 * planeBytes[0]! });
  assert.throws(() => sliceExtents(parted, 0, 4, 6), { code: "INTERNAL" }, "over two segments");
  assert.throws(() => checkPlanes(weight([1, count - 1], [2, count - 2])), { code: "INTERNAL" }, "planes cut apart");
  assert.throws(() => checkPlanes(weight([1, count - 2])), { code: "INTERNAL" }, "a slice is missing");
  assert.throws(() => checkPlanes(weight([0.5, count - 0.5])), { code: "INTERNAL" }, "a slice cut in two");
});

test("slices of every plane follow each other and are the whole of it, whatever the extents", () => {
  fc.assert(
    fc.property(
      layouts,
      fc.integer({ min: 1, max: 4 }),
      fc.integer({ min: 1, max: 3 }),
      fc.integer({ min: 1, max: 4 }),
      fc.boolean(),
      (layout, tall, wide, experts, apart) => {
        const [rows, cols] = [8 * tall, 192 * wide];
        const slices = slicesOf(layout, rows, cols);
        const expertBytes = slices.count * slices.bytes + slices.wholeBytes;
        assert.equal(expertBytes, layoutBytes(layout, rows, cols));
        const extents = (i: number): Extent[] => {
          const bytes = expertPlaneBytes(slices, i);
          if (!apart) return [{ file: `file ${i}`, offset: 7, bytes: experts * bytes }];
          // Every expert in a file of its own.
          return Array.from({ length: experts }, (_, e) => ({ file: `file ${i} of ${e}`, offset: 100 * e, bytes }));
        };
        const planes = Object.fromEntries(layout.planes.map(({ name }, i) => [name, extents(i)]));
        const weight = { name: "w", layout, rows, cols, experts, planes };
        checkPlanes(weight);
        assert.equal(storedBytes(planes), experts * expertBytes);
        for (let expert = 0; expert < experts; expert++) {
          const cut = Math.floor(slices.count / 2);
          const parts = [sliceExtents(weight, expert, 0, cut), sliceExtents(weight, expert, cut, slices.count)];
          for (const i of layout.planes.keys()) {
            const [head, tail] = [parts[0]![i]!, parts[1]![i]!];
            const bytes = expertPlaneBytes(slices, i);
            assert.equal(head.offset, apart ? 100 * expert : 7 + expert * bytes);
            if (layout.planes[i]!.whole) {
              // Needed whatever the slices.
              assert.equal(head.bytes, bytes);
              assert.deepEqual(tail, head);
              continue;
            }
            assert.deepEqual([tail.file, tail.offset], [head.file, head.offset + head.bytes]);
            assert.equal(head.bytes + tail.bytes, bytes);
          }
        }
        assert.throws(() => checkPlanes({ ...weight, experts: experts + 1 }), { code: "INTERNAL" });
      },
    ),
  );
});

test("a slice of a GGUF type is a row of its blocks", () => {
  for (const dtype of dtypes) {
    const cols = 3 * dtype.blockValues;
    const { count, step, bytes, planeBytes } = slicesOf(dtype, 5, cols);
    assert.deepEqual(
      { count, step, bytes, planeBytes },
      { count: 5, step: 1, bytes: 3 * dtype.blockBytes, planeBytes: [bytes] },
    );
    assert.equal(
      layoutBytes(dtype, 5, cols + 1),
      dtype.blockValues === 1 ? bytes * 5 + 5 * dtype.blockBytes : undefined,
    );
  }
  assert.throws(() => slicesOf(dtypeByName("Q4_K")!, 4, 100), { code: "INTERNAL" });
});

test("in the order of inputs a slice is whole units of 32 inputs of all rows", () => {
  const layout: Layout = {
    id: 5000,
    name: "like GPTQ",
    order: "inputs",
    planes: [
      { name: "words", rows: 1, cols: 8, bytes: 4 },
      { name: "scales", rows: 1, cols: 128, bytes: 2 },
      { name: "zeros", rows: 8, cols: 128, bytes: 4 },
    ],
  };
  const slices = slicesOf(layout, 48, 512);
  assert.deepEqual(slices, {
    count: 4,
    step: 128,
    planeBytes: [48 * 64, 96, 24],
    bytes: 48 * 64 + 120,
    wholePlaneBytes: [0, 0, 0],
    wholeBytes: 0,
  });
  assert.equal(slicesOf({ ...layout, planes: layout.planes.slice(0, 1) }, 48, 512).step, 32);
  assert.throws(() => slicesOf(layout, 44, 512), { code: "INTERNAL" });
});

test("whole planes are no part of slices, and let others be cut finer", () => {
  const layout: Layout = {
    id: 5000,
    name: "like GPTQ with act-order",
    order: "inputs",
    planes: [
      { name: "words", rows: 1, cols: 8, bytes: 4 },
      { name: "scales", rows: 1, cols: 128, bytes: 2, whole: true },
      { name: "index", rows: 0, cols: 1, bytes: 4, whole: true },
    ],
  };
  assert.deepEqual(slicesOf(layout, 48, 512), {
    count: 16,
    step: 32,
    planeBytes: [48 * 16, 0, 0],
    bytes: 48 * 16,
    wholePlaneBytes: [0, 48 * 4 * 2, 512 * 4],
    wholeBytes: 48 * 8 + 2048,
  });
  // Rows cannot be cut where a cell is all of them.
  const [words, , index] = layout.planes as readonly [PlaneLayout, PlaneLayout, PlaneLayout];
  const cut = { name: index.name, rows: 0, cols: 1, bytes: 4 };
  assert.throws(() => slicesOf({ ...layout, order: "rows", planes: [words, cut] }, 48, 512), { code: "INTERNAL" });
});
