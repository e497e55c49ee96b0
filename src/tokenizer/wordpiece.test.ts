import assert from "node:assert/strict";
import { test } from "node:test";
import { randomTexts, randomWordPiece } from "../../test/support/random-vocabulary.js";
import { metadataOf, strings } from "../../test/support/tokenizer-golden.js";
import { workMs } from "../../test/support/work.js";
import type { TypedValue } from "../formats/index.js";
import { createStreamDecoder, createTokenizer, type Tokenizer } from "./index.js";

const [normal, unknown, control, , unused] = [1, 2, 3, 4, 5];
const specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
const u32 = (value: number): TypedValue => ({ type: "u32", value });
const bool = (value: boolean): TypedValue => ({ type: "bool", value });

function make(
  pieces: readonly string[],
  change: Record<string, TypedValue | undefined> = {},
  types: Record<string, number> = {},
): Tokenizer {
  const tokens = [...specials, ...pieces];
  const typeOf = (text: string, id: number) => types[text] ?? (id === 1 ? unknown : id < 5 ? control : normal)!;
  const entries = new Map<string, TypedValue>([
    ["tokenizer.ggml.model", { type: "string", value: "bert" }],
    ["tokenizer.ggml.tokens", strings(tokens)],
    ["tokenizer.ggml.token_type", { type: "array", element: "i32", value: Int32Array.from(tokens, typeOf) }],
    ["tokenizer.ggml.unknown_token_id", u32(1)],
    ["tokenizer.ggml.cls_token_id", u32(2)],
    ["tokenizer.ggml.seperator_token_id", u32(3)],
    ["tokenizer.ggml.mask_token_id", u32(4)],
  ]);
  for (const [key, value] of Object.entries(change)) {
    if (value === undefined) entries.delete(`tokenizer.ggml.${key}`);
    else entries.set(`tokenizer.ggml.${key}`, value);
  }
  return createTokenizer(metadataOf(entries));
}
const pieces = (t: Tokenizer, text: string) => [...t.encode(text, { addSpecial: false })].map((id) => t.piece(id));
const list = ["\u2581the", "\u2581un", "aff", "able", "\u2581a", "ff", "\u2581.", "\u2581e", "\u2581\u4e16", "\u2581["];

test("longest pieces from the left; a word that cannot be written is one unknown token", () => {
  const t = make(list);
  assert.equal(t.kind, "wordpiece");
  assert.deepEqual(pieces(t, "The unaffable  the."), ["\u2581the", "\u2581un", "aff", "able", "\u2581the", "\u2581."]);
  assert.deepEqual(pieces(t, "unaffx the"), ["[UNK]", "\u2581the"]);
  assert.deepEqual(pieces(t, "\u00c9 \u4e16\u4e16"), ["\u2581e", "\u2581\u4e16", "\u2581\u4e16"]);
  assert.deepEqual(pieces(make(list, { "normalizer.lowercase": bool(false) }), "The \u00c9"), ["[UNK]", "[UNK]"]);
});

test("a text stands between class token and separator; the special ids are known", () => {
  const t = make(list);
  assert.deepEqual([...t.encode("the")], [2, 5, 3]);
  assert.deepEqual([...t.encode("")], [2, 3]);
  assert.deepEqual(
    { ...t.special },
    { bos: 2, eos: undefined, eot: undefined, unknown: 1, padding: 0, separator: 3, mask: 4 },
  );
  assert.deepEqual([t.addBos, t.addEos, t.addSeparator], [true, true, true]);
  assert.equal(make(list, { add_sep_token: bool(false) }).addSeparator, false);
  const outside = make(list, { seperator_token_id: undefined, cls_token_id: u32(999) });
  assert.deepEqual([...outside.encode("the")], [5], "102 is no token here");
});

test("special texts of a person's are words; a template's are tokens", () => {
  const t = make([...list, "\u2581]", "\u2581mask"]);
  assert.deepEqual(pieces(t, "[MASK]"), ["\u2581[", "\u2581mask", "\u2581]"]);
  assert.deepEqual([...t.encode("the [MASK].", { parseSpecial: true, addSpecial: false })], [5, 4, 11]);
  for (const type of [control, unknown, unused]) {
    const hidden = make(["\u2581the", "\u2581th", "e"], {}, { "\u2581the": type! });
    assert.deepEqual(pieces(hidden, "the"), ["\u2581th", "e"]);
    assert.deepEqual(pieces(make(["\u2581the"], {}, { "\u2581the": type! }), "the"), ["[UNK]"]);
  }
});

test("words are joined by spaces, whole and as a stream", () => {
  const t = make(list);
  assert.equal(t.decode(t.encode("The unaffable  a.")), "the unaffable a .");
  const { entries, words } = randomWordPiece(5);
  const random = createTokenizer(metadataOf(entries));
  for (const text of randomTexts(5, 300, words)) {
    const ids = random.encode(text);
    const decoder = createStreamDecoder(random);
    assert.equal([...ids].map((id) => decoder.push(id)).join("") + decoder.flush(), random.decode(ids));
    // What was written once is written so again, unless a word was unknown.
    if (!ids.includes(random.special.unknown!)) assert.deepEqual(random.encode(random.decode(ids)), ids);
  }
});

test("damaged vocabularies: an error with a code, or ids that exist", () => {
  assert.throws(() => make(["a".repeat(600)]), { code: "TOKENIZER_INVALID" });
  const t = make(["", "\u2581a", "\u2581a", "\u2581"], { unknown_token_id: u32(1e9), padding_token_id: u32(1e9) });
  for (const text of ["a", "b", "", "a b", "\u0000"]) assert.ok(t.encode(text).every((id) => id >= 0 && id < t.size));
});

test("time grows with the length of one word", () => {
  const t = make([...Array.from({ length: 40 }, (_, n) => "a".repeat(n + 1)), `${"a".repeat(200)}b`, "\u2581"]);
  const time = (length: number) => {
    const start = workMs();
    t.encode("a".repeat(length));
    return workMs() - start;
  };
  time(10_000);
  const short = Math.max(time(20_000), 4);
  const long = time(160_000);
  assert.ok(long < 24 * short, `${short} ms, ${long} ms for 8x`);
  assert.equal(t.encode("a".repeat(1_000_000), { addSpecial: false }).length, 25_001);
});
