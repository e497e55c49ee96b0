import assert from "node:assert/strict";
import { test } from "node:test";
import { codePoints, symbolOf, symbols } from "./unicode.js";

test("the category table agrees with this runtime's Unicode wherever it knows the code point", () => {
  const classes: [RegExp, number[]][] = [
    [/\p{L}/u, [symbols.letter, symbols.han]],
    [/\p{M}/u, [symbols.mark]],
    [/\p{N}/u, [symbols.number]],
    [/\p{P}/u, [symbols.punctuation]],
    [/\p{S}/u, [symbols.symbol]],
    [/\p{White_Space}/u, [symbols.whitespace]],
  ];
  let newer = 0;
  for (let c = 0x80; c < 0x110000; c++) {
    const symbol = symbolOf(c);
    const text = String.fromCodePoint(c);
    const expected = classes.find(([pattern]) => pattern.test(text))?.[1] ?? [symbols.other, symbols.hanOther];
    if (expected.includes(symbol)) continue;
    // Assigned after Unicode 15.1, or not yet known to this runtime.
    const unknownHere = /\p{Cn}/u.test(text);
    assert.ok(unknownHere || symbol === symbols.other || symbol === symbols.hanOther, `U+${c.toString(16)}: ${symbol}`);
    newer++;
  }
  assert.ok(newer < 20_000, `${newer} code points differ`);
});

test("white space is Unicode's, not JavaScript's", () => {
  assert.equal(symbolOf(0x85), symbols.whitespace);
  assert.equal(symbolOf(0xa0), symbols.whitespace);
  assert.equal(symbolOf(0xfeff), symbols.other);
  assert.equal(symbolOf(0x200b), symbols.other);
  assert.equal(symbolOf(0x1c), 0x1c);
});

test("UTF-8 is decoded to code points of every length", () => {
  const text = "a\u00e9\u20ac\u{1f642}\u0000\u{10ffff}";
  const decoded = codePoints(Buffer.from(text));
  assert.deepEqual(
    [...decoded.points.subarray(0, decoded.length)],
    Array.from(text, (c) => c.codePointAt(0)),
  );
});
