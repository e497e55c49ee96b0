import assert from "node:assert/strict";
import { test } from "node:test";
import { type Extent, expertPlaneBytes, sliceExtents, slicesOf } from "../formats/layouts.js";
import { planeLayouts } from "../formats/plane-layouts.js";
import type { PlanMatrix } from "./plan-model.js";
import { placeTrunk } from "./plan-place.js";
import { edgeBytes, pinnedEdgeBytes, type Ring, tileProgram } from "./plan-tiles.js";

const page = 4096;

/** Layouts of several planes as a plan would see them: every plane in a file of its own. */
const trunk = planeLayouts.map((layout, i): PlanMatrix => {
  const [rows, cols] = [256 + 32 * (i % 8), 8192];
  const slices = slicesOf(layout, rows, cols);
  const extent = (p: number): Extent => ({
    file: `plane ${p}`,
    offset: 100 + 1e8 * i,
    bytes: expertPlaneBytes(slices, p),
  });
  const planes = Object.fromEntries(layout.planes.map(({ name }, p) => [name, [extent(p)]]));
  const bytes = slices.count * slices.bytes;
  const keptBytes = slices.wholeBytes;
  const shape = { layout, rows, cols, experts: 1, slices, segments: [0, slices.count] };
  return { name: layout.name, layer: i, role: "ffn", ...shape, bytes, keptBytes, planes };
});
const total = trunk.reduce((sum, m) => sum + m.bytes, 0);

test("matrices of several planes are pinned in whole slices and streamed in tiles that fit with their pages", () => {
  for (const slotBytes of [64 * page, 40 * page, 26 * page]) {
    const ring: Ring = { slots: 4, slotBytes, bytes: 4 * slotBytes, depth: 3 };
    for (const share of [0, 0.3, 0.9]) {
      const pinned = placeTrunk(trunk, Math.floor(share * total));
      const held = trunk.reduce((sum, m, i) => sum + pinned[i]! * m.slices.bytes, 0);
      assert.ok(held <= share * total && share * total - held <= Math.max(...trunk.map((m) => m.slices.bytes)));
      const covered = Array.from(pinned);
      let streamed = 0;
      for (const tile of tileProgram(trunk, pinned, ring)) {
        const m = trunk[tile.matrix]!;
        assert.equal(tile.from, covered[tile.matrix]);
        covered[tile.matrix] = tile.to;
        // Whole planes are in memory, whatever the tiles.
        const pieces = sliceExtents(m, 0, tile.from, tile.to).filter((_, p) => !m.layout.planes[p]!.whole);
        assert.equal(
          pieces.reduce((sum, piece) => sum + piece.bytes, 0),
          tile.bytes,
        );
        // What a slot takes: whole pages around each piece.
        const paged = pieces.reduce(
          (sum, { offset, bytes }) => sum + page * (Math.ceil((offset + bytes) / page) - Math.floor(offset / page)),
          0,
        );
        assert.ok(paged <= slotBytes && paged <= tile.bytes + edgeBytes(m), `${m.name}: ${paged} of ${slotBytes}`);
        streamed += tile.bytes;
      }
      assert.deepEqual(
        covered,
        trunk.map((m) => m.slices.count),
      );
      assert.equal(held + streamed, total);
    }
  }
});

test("pages around what is pinned: of each extent", () => {
  const [m] = trunk as [PlanMatrix];
  assert.equal(pinnedEdgeBytes(m), 2 * page * 3);
  const scattered = Object.fromEntries(
    Object.entries(m.planes).map(([name, [one]]) => [name, [one!, one!, one!, one!]]),
  );
  assert.equal(pinnedEdgeBytes({ ...m, experts: 4, planes: scattered }), 2 * page * 12);
});
