/** The addon's scan for the best logits against the loop in JavaScript: the same candidates in the same order. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { addonStatus, loadAddon } from "../native/addon.js";
import { Candidates } from "./candidates.js";

const scan = loadAddon()?.bestLogits;
const skip = scan === undefined ? `SKIPPED: ${addonStatus().reason}` : false;
if (skip) console.error(`best scan: ${skip}`);

interface Row {
  readonly row: Float32Array;
  readonly changed: ReadonlyMap<number, number>;
  readonly count: number;
}

/** Few different values, so that ties decide; some tokens changed; the scan's stride of 64 is crossed now and then. */
const rows: fc.Arbitrary<Row> = fc
  .record({
    length: fc.oneof(fc.integer({ min: 1, max: 70 }), fc.integer({ min: 1, max: 700 })),
    levels: fc.constantFrom(2, 9, 1000),
    seed: fc.nat(),
    edits: fc.constantFrom(0, 0, 3, 1000),
    count: fc.constantFrom(1, 2, 40, 64, 2000),
  })
  .map(({ length, levels, seed, edits, count }) => {
    let state = seed >>> 0;
    const below = (n: number): number => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return (state >>> 8) % n;
    };
    const row = Float32Array.from({ length }, () => (below(levels) - levels / 2) / 8);
    if (below(3) === 0) row[below(length)] = -0;
    if (below(3) === 0) for (let i = 0; i < length; i += 2) row[below(length)] = -Infinity;
    const changed = new Map(Array.from({ length: edits }, () => [below(length), below(levels) / 8 - 1]));
    return { row, changed, count };
  });

function best({ row, changed, count }: Row, candidates: Candidates): [number, number][] {
  const { edits } = candidates;
  edits.clear();
  for (const [id, logit] of changed) edits.set(id, logit);
  candidates.loadBest(row, count, changed.size > 0 ? edits : undefined);
  edits.clear();
  return Array.from({ length: candidates.size }, (_, i) => [candidates.ids[i]!, candidates.logits[i]!]);
}

test("the best of any row, changed logits or not, ties and all", { skip }, () => {
  fc.assert(
    fc.property(rows, (r) => {
      const { length } = r.row;
      assert.deepEqual(best(r, new Candidates(length, scan)), best(r, new Candidates(length)));
    }),
    { numRuns: 2000 },
  );
});

test("a logit that is no number or +Infinity is refused, wherever it stands and whatever is marked", { skip }, () => {
  for (const length of [1, 63, 64, 200])
    for (const at of [0, 62, 63, 64, 150, 199].filter((i) => i < length))
      for (const value of [Number.NaN, Infinity])
        for (const count of [1, 40]) {
          const row = new Float32Array(length).fill(-3);
          row[at] = value;
          const refused = { code: "MODEL_INVALID", details: { token: at, logit: String(value) } };
          assert.throws(() => new Candidates(length, scan).loadBest(row, count), refused);
          const marked = new Candidates(length, scan);
          marked.edits.set(at, 1);
          assert.throws(() => marked.loadBest(row, count, marked.edits), refused);
        }
});
