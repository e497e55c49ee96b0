import assert from "node:assert/strict";
import { test } from "node:test";
import { kindsTexts, kindsVocabularies, readKindsGolden } from "../../test/support/kinds-golden.js";
import { metadataOf } from "../../test/support/tokenizer-golden.js";
import { createTokenizer } from "./index.js";

const golden = readKindsGolden();

for (const [name, { entries }] of Object.entries(kindsVocabularies)) {
  test(`ids equal llama.cpp's: ${name}`, () => {
    const tokenizer = createTokenizer(metadataOf(entries));
    const texts = kindsTexts(name);
    assert.equal(golden.ids[name]!.length, texts.length);
    texts.forEach((text, i) => {
      const ids = [...tokenizer.encode(text, { addSpecial: false, parseSpecial: true })];
      assert.deepEqual(ids, golden.ids[name]![i], JSON.stringify(text));
    });
  });
}
