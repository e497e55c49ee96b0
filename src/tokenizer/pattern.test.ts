import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { compile } from "./pattern.js";
import { codePoints } from "./unicode.js";

function pieces(source: string, text: string): string[] {
  const points = codePoints(Buffer.from(text));
  const ends: number[] = [];
  compile(source)(points, 0, points.length, ends);
  const characters = [...text];
  return ends.map((end, i) => characters.slice(i === 0 ? 0 : ends[i - 1], end).join(""));
}

/** The same by RegExp, with the gaps kept. */
function byRegExp(pattern: RegExp, text: string): string[] {
  const out: string[] = [];
  let at = 0;
  for (const match of text.matchAll(pattern)) {
    if (match[0] === "") continue;
    if (match.index > at) out.push(text.slice(at, match.index));
    out.push(match[0]);
    at = match.index + match[0].length;
  }
  if (at < text.length) out.push(text.slice(at));
  return out;
}

// ASCII text, where \s \p{..} mean the same to both engines.
const asciiText = fc.string({ unit: fc.constantFrom(..."aZb19 \t\n\r'ste.,!-_$+IMGABC") });

for (const source of [
  "'s|'t| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+",
  "(?:'[sS]|'[tT])|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| " +
    "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
  "[^\\r\\n\\p{L}\\p{N}]?\\p{Lu}*\\p{Ll}+(?:'s|'t)?|[^\\r\\n\\p{L}\\p{N}]?\\p{Lu}+\\p{Ll}*|\\s*[\\r\\n]",
  "\\s{4}(?!\\S)|\\s{1,2}(?!\\S)|\\s|IMG[A-I]{1,4}Z?",
  "[\\p{P}$+<=>^~|]+",
  "\\s+$",
  "[!-,.\\-a-c]+\\d?",
]) {
  test(`cuts like RegExp: ${source}`, () => {
    const pattern = new RegExp(source.replace("\\p{P}$", "\\p{P}\\$"), "gu");
    fc.assert(
      fc.property(asciiText, (text) => {
        assert.deepEqual(pieces(source, text), byRegExp(pattern, text));
      }),
      { numRuns: 300 },
    );
  });
}

test("words joined by single spaces", () => {
  assert.deepEqual(pieces("\\w+", "one two  three e\u0301t\u0301 \u0301x"), [
    "one two",
    "  ",
    "three e\u0301t\u0301",
    " \u0301",
    "x",
  ]);
});

test("ranges of code points beyond ASCII, plain and negated", () => {
  assert.deepEqual(pieces("[\u4e00-\u9fa5]+", "ab\u4e16\u754cc\u3042"), ["ab", "\u4e16\u754c", "c\u3042"]);
  assert.deepEqual(pieces("[^\u3002.]+", "a\u3002b.\u00e9"), ["a", "\u3002", "b", ".", "\u00e9"]);
});

test("a wrong pattern is refused, not misread", () => {
  assert.throws(() => compile("\\p{Q}"), /no class/);
  assert.throws(() => compile("a)b"), /unexpected/);
});
