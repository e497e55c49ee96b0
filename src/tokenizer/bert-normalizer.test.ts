import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { BertNormalizer, fateShift, fates, firstOfDecomposition, lowerCase } from "./bert-normalizer.js";

/** The hash of all code points but surrogates, as 32-bit little-endian numbers. */
function hashOf(map: (codePoint: number) => number): string {
  const out = new Uint32Array(0x110000);
  for (let c = 0; c < out.length; c++) out[c] = c >= 0xd800 && c < 0xe000 ? c : map(c);
  return createHash("sha256").update(out).digest("hex").slice(0, 16);
}

test("lower case and decomposition are those of llama.cpp's tables, whatever Unicode this runtime has", () => {
  // Hashes of unicode_map_lowercase and unicode_ranges_nfd in llama.cpp v0.5.0, src/unicode-data.cpp.
  assert.equal(hashOf(lowerCase), "2f1a7b3137115900");
  assert.equal(hashOf(firstOfDecomposition), "b090a395d53175c1");
});

test("what becomes of a code point", () => {
  const fate = (n: BertNormalizer, text: string) => n.entry(text.codePointAt(0)!) >> fateShift;
  const point = (n: BertNormalizer, text: string) => String.fromCodePoint(n.entry(text.codePointAt(0)!) & 0x1fffff);
  const plain = new BertNormalizer({ lowercase: false, stripAccents: false });
  const uncased = new BertNormalizer({ lowercase: true, stripAccents: true });
  for (const n of [plain, uncased]) {
    for (const space of " \t\n\u000b\u0085\u00a0\u3000\u2028") assert.equal(fate(n, space), fates.space, space);
    for (const gone of "\u0000\u001f\u007f\u00ad\u200b\ufeff\ufffd\ue000") assert.equal(fate(n, gone), fates.dropped);
    for (const alone of "!-@[`{~$+^|\u3002\u2014\u4e16\u3400\uf900\u{20000}")
      assert.equal(fate(n, alone), fates.alone, alone);
    for (const letter of "a1\u00e9\u00a3\u2208\u{1f642}\u3042\ud55c\u0378")
      assert.equal(fate(n, letter), fates.letter, letter);
  }
  assert.equal(point(plain, "\u00c9"), "\u00c9");
  assert.equal(point(uncased, "\u00c9"), "e");
  assert.equal(point(uncased, "\ud55c"), "\u1112");
  assert.equal(fate(uncased, "\u0301"), fates.dropped);
  assert.equal(fate(plain, "\u0301"), fates.letter);
});
