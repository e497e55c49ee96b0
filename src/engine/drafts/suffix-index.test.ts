import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { SuffixIndex } from "./suffix-index.js";

/** The longest suffix that stands earlier, with something behind it. */
function longestByHand(tokens: readonly number[]): number {
  for (let length = tokens.length - 1; length >= 2; length--) {
    const end = tokens.slice(-length).join();
    for (let at = tokens.length - 1; at >= length; at--)
      if (tokens.slice(at - length, at).join() === end) return length;
  }
  return 0;
}

test("the longest suffix that stood before, at every length of the text", () => {
  fc.assert(
    fc.property(fc.array(fc.nat(5), { maxLength: 60 }), (tokens) => {
      const index = new SuffixIndex();
      for (const [i, token] of tokens.entries()) {
        index.push(token);
        const said = tokens.slice(0, i + 1);
        const found = index.longest();
        assert.equal(found?.length ?? 0, longestByHand(said));
        if (found === undefined) continue;
        assert.ok(found.at <= i, "there is a token behind it");
        assert.deepEqual(said.slice(found.at - found.length, found.at), said.slice(-found.length));
      }
    }),
  );
});

test("the newest of equal ones counts, and a long text stays quick", () => {
  const index = new SuffixIndex();
  for (const token of [1, 2, 3, 9, 1, 2, 4, 9, 1, 2]) index.push(token);
  assert.deepEqual(index.longest(), { at: 6, length: 3 });
  // The worst text: every position is a candidate, and all agree as far as one looks.
  const same = new SuffixIndex();
  const began = performance.now();
  for (let i = 0; i < 100_000; i++) {
    same.push(7);
    if (i % 10 === 0) same.longest();
  }
  assert.deepEqual(same.longest(), { at: 99_999, length: 64 });
  assert.ok(performance.now() - began < 5000);
});
