/** Guesses, how sure they are, and when they are worth their rows. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Acceptance, agreement } from "./acceptance.js";
import { chooseDrafts } from "./choose.js";
import { Drafter, LearnedOdds } from "./drafter.js";
import { LookupDrafter } from "./lookup.js";
import { PassCosts } from "./pass-costs.js";

test("a prediction is followed from its first token, left where the answer leaves it, and found again", () => {
  const prediction = [10, 11, 12, 13, 14, 15, 16, 17];
  const drafter = new LookupDrafter(new Acceptance(agreement), [1, 2, 3], prediction);
  drafter.accept(10);
  assert.deepEqual(drafter.propose(3), { ids: [11, 12, 13], odds: drafter.propose(3).odds, source: "prediction" });
  for (const id of [11, 99, 13]) drafter.accept(id);
  assert.deepEqual(drafter.propose(9).ids, [], "nothing agrees behind a changed token");
  drafter.accept(14);
  assert.deepEqual(drafter.propose(9).ids, [15, 16, 17], "a prediction ends where it ends");
});

test("a text is guessed from where it stood before; one that repeats goes on repeating", () => {
  const drafter = new LookupDrafter(new Acceptance(agreement), [5, 6, 7, 8, 9, 1, 2, 5, 6]);
  const { ids, odds, source } = drafter.propose(4);
  assert.deepEqual([ids, source], [[7, 8, 9, 1], "lookup"]);
  assert.ok(
    odds.every((p, i) => p > 0 && p < 1 && (i === 0 || p >= odds[i - 1]!)),
    "a longer agreement is surer",
  );
  const rhythm = new LookupDrafter(new Acceptance(agreement), [1, 2, 1, 2, 1]);
  assert.deepEqual(rhythm.propose(5).ids, [2, 1, 2, 1, 2]);
});

test("odds follow what came true, in this answer more than in others", () => {
  const all = new Acceptance(agreement);
  const before = all.odds(3);
  const one = new Acceptance(agreement, all);
  for (let i = 0; i < 40; i++) one.learn(3, false);
  assert.ok(one.odds(3) < 0.05 && all.odds(3) < before / 3);
  assert.equal(one.odds(9), all.odds(9), "other lengths are not touched");
  const next = new Acceptance(agreement, all);
  for (let i = 0; i < 6; i++) next.learn(3, true);
  assert.ok(next.odds(3) > 0.5, "a text of another kind is noticed");
});

test("what a guesser gave in earlier answers is hoped for in the next one, and less with every wrong guess", () => {
  const learned = new LearnedOdds();
  const begin = (): Drafter =>
    new Drafter({ mode: "auto", learned, guesser: "mtp", guide: undefined, prediction: [], prompt: Int32Array.of(1) });
  const first = begin();
  assert.equal(first.hope, 0.75);
  for (let i = 0; i < 40; i++) {
    first.propose(8);
    assert.ok(first.offer([0.4]));
    first.learn(1, 0);
  }
  assert.ok(first.hope < 0.1);
  const next = begin();
  assert.ok(next.hope < 0.1, `${next.hope}`);
  assert.deepEqual(first.counts, { mtp: { tried: 40, right: 0 } });
  // What was not tried for long is hoped for again.
  for (let i = 0; i < 400; i++) next.wants(8, 0);
  assert.ok(next.hope > 0.5);
  // Guesses that promise less than those there are do not take their place.
  const looked = new Drafter({
    ...{ mode: "auto", learned, guide: undefined, prediction: [] },
    prompt: Int32Array.of(5, 6, 7, 8, 9, 5, 6, 7),
  });
  assert.deepEqual(Array.from(looked.propose(2)), [8, 9]);
  assert.equal(looked.offer([0.4]), false);
});

/** Passes of 1 row cost 100 ms; what more rows cost is told. */
const costsOf = (more: (rows: number) => number) => () => (rows: number) => (rows === 1 ? 100 : more(rows));

test("drafts are taken as far as they pay", () => {
  const odds = [0.9, 0.9, 0.9, 0.5, 0.1];
  const choose = (more: (rows: number) => number, most = 20): number[] =>
    chooseDrafts([odds], { most, passMs: costsOf(more) });
  assert.deepEqual(
    choose(() => 100),
    [5],
    "free rows",
  );
  assert.deepEqual(
    choose((rows) => 100 * rows),
    [0],
    "a row costs a pass",
  );
  assert.deepEqual(
    choose((rows) => 100 + 40 * (rows - 1)),
    [3],
  );
  assert.deepEqual(
    choose(() => 100, 2),
    [2],
    "no more than there is room for",
  );
  assert.deepEqual(
    choose((rows) => (rows < 5 ? 230 : 232)),
    [5],
    "a step is worth it as a whole",
  );
  // What is certain is taken whatever it costs, and where nothing is known of costs.
  assert.deepEqual(chooseDrafts([[1, 1, 0.9], []], { most: 9, passMs: () => undefined }), [2, 0]);
  // Of two answers the likelier guesses come first.
  const two = chooseDrafts([[0.95, 0.9], [0.4]], { most: 9, passMs: () => (rows) => 100 + 30 * rows });
  assert.deepEqual(two, [2, 0]);
});

test("costs: rows are free while the disk takes as long, measured passes correct what was expected", () => {
  const costs = new PassCosts();
  assert.equal(costs.from(1, 20), undefined, "nothing was measured");
  costs.record(1, 500, 400);
  const streamed = costs.from(1, 20)!;
  assert.deepEqual([1, 8, 21, 41].map(streamed), [500, 500, 500, 900]);
  costs.record(9, 750, 500);
  const corrected = costs.from(1, 20)!;
  assert.deepEqual([1, 5, 9].map(corrected), [500, 625, 750]);
  assert.equal(corrected(41), 1350);
  assert.equal(costs.from(2, 20), undefined, "two answers at once were not measured");
  // A plain pass beside which the machine did something else does not make guesses a gain.
  const busy = new PassCosts();
  busy.record(1, 900, 0);
  busy.record(2, 520, 0);
  busy.record(3, 530, 0);
  const known = busy.from(1, 20)!;
  assert.deepEqual([known(1), known(2)], [520, 520]);
  assert.ok(known(3) >= 520 && known(9) > known(3));
  // Old figures are forgotten: then a pass without drafts is measured again.
  for (let i = 0; i < 200; i++) costs.record(9, 750, 500);
  assert.equal(costs.from(1, 20), undefined);
});
