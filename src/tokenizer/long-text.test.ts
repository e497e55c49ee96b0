/** A text in pieces has the ids of the whole, for every pre-tokenizer, wherever it happens to be cut. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { metadataOf, readTokenizerGolden, vocabularyEntries } from "../../test/support/tokenizer-golden.js";
import type { TypedValue } from "../formats/index.js";
import { createTokenizer, LongTextEncoder, preTokenizerGroups, type Tokenizer } from "./index.js";

const golden = readTokenizerGolden();
const { bpe, spm } = golden.vocabularies;
const bool = (value: boolean): TypedValue => ({ type: "bool", value });

function make(vocabulary: typeof bpe, pre?: string, change: Record<string, TypedValue> = {}): Tokenizer {
  const entries = vocabularyEntries(vocabulary, pre);
  for (const [key, value] of Object.entries(change)) entries.set(`tokenizer.ggml.${key}`, value);
  return createTokenizer(metadataOf(entries));
}

const both = { add_bos_token: bool(true), add_eos_token: bool(true) };
const tokenizers = [
  ...preTokenizerGroups.map((pre) => make(bpe, pre, both)),
  make(spm, undefined, both),
  make(spm, undefined, { ...both, add_space_prefix: bool(false) }),
];

/** @returns the ids, and how many pieces there were */
function inPieces(
  tokenizer: Tokenizer,
  text: string,
  step: number,
  parseSpecial: boolean,
): [ids: number[], pieces: number] {
  const encoder = new LongTextEncoder(tokenizer, { parseSpecial }, 24);
  const ids: number[] = [];
  let pieces = 1;
  for (let at = 0; at < text.length; at += step) {
    const made = encoder.push(text.slice(at, at + step));
    if (made.length > 0) pieces++;
    ids.push(...made);
  }
  ids.push(...encoder.end());
  return [ids, pieces];
}

const whole = (tokenizer: Tokenizer, text: string, parseSpecial: boolean) => [
  ...tokenizer.encode(text, { parseSpecial }),
];

test("equal to the whole: all golden texts in one, for every group of pre-tokenizers", () => {
  const text = `${golden.texts.join(" the cat ")} the  cats\n\nthe\n cat's 123 the </s> the`;
  for (const tokenizer of tokenizers)
    for (const special of [false, true]) {
      const [ids, pieces] = inPieces(tokenizer, text, 7, special);
      assert.deepEqual(ids, whole(tokenizer, text, special), `${tokenizer.kind} ${tokenizer.preTokenizer}`);
      assert.ok(pieces > 10, `${tokenizer.kind} ${tokenizer.preTokenizer}: ${pieces} pieces`);
    }
});

test("equal to the whole: random words, white space, marks and special tokens", () => {
  const words = [
    "the",
    " ",
    "  ",
    "\n",
    "\n\n",
    " \n ",
    "\t",
    "cat",
    "'s",
    "1234",
    "\u4e2d\u6587",
    "\u3002",
    "\u00e9",
    "e\u0301",
    "</s>",
  ];
  const part = fc.constantFrom(...words, "<s>", ".", "!?", "\u2581", "\r\n", "\u00a0", "\u{1f642}", "<|im_end|>");
  fc.assert(
    fc.property(
      fc.array(part, { maxLength: 60 }),
      fc.integer({ min: 1, max: 40 }),
      fc.boolean(),
      (parts, step, special) => {
        const text = parts.join("");
        for (const tokenizer of tokenizers)
          assert.deepEqual(
            inPieces(tokenizer, text, step, special)[0],
            whole(tokenizer, text, special),
            `${tokenizer.kind} ${tokenizer.preTokenizer}: ${JSON.stringify(text)}`,
          );
      },
    ),
    { numRuns: 60 },
  );
});

test("holds no more than a piece of a long text; one without an end of a word is refused", () => {
  const encoder = new LongTextEncoder(tokenizers[0]!, {});
  const part = "the cat sat on the mat\n".repeat(2000);
  let ids = 0;
  let most = 0;
  for (let n = 0; n < 100; n++) {
    const made = encoder.push(part);
    most = Math.max(most, made.length);
    ids += made.length;
  }
  ids += encoder.end().length;
  assert.ok(most < ids / 10, `${most} of ${ids}`);
  const endless = new LongTextEncoder(tokenizers[0]!, {});
  assert.throws(
    () => {
      for (let n = 0; n < 40; n++) endless.push("a".repeat(2 ** 20));
    },
    { code: "TEXT_INVALID" },
  );
});
