import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  type GoldenVocabulary,
  metadataOf,
  readTokenizerGolden,
  strings,
  vocabularyEntries,
} from "../../test/support/tokenizer-golden.js";
import { HundredweightError } from "../errors.js";
import type { TypedValue } from "../formats/index.js";
import { createTokenizer, preTokenizerNames } from "./index.js";

const golden = readTokenizerGolden();
const { bpe, spm } = golden.vocabularies;

function make(vocabulary: GoldenVocabulary, pre?: string, change: Record<string, TypedValue | undefined> = {}) {
  const entries = vocabularyEntries(vocabulary, pre);
  for (const [key, value] of Object.entries(change)) {
    if (value === undefined) entries.delete(`tokenizer.ggml.${key}`);
    else entries.set(`tokenizer.ggml.${key}`, value);
  }
  return createTokenizer(metadataOf(entries));
}
const bool = (value: boolean): TypedValue => ({ type: "bool", value });
const u32 = (value: number): TypedValue => ({ type: "u32", value });

for (const { vocabulary, pre, special, ids } of golden.cases) {
  test(`ids equal llama.cpp's: ${vocabulary} ${pre ?? ""}${special ? " with special tokens" : ""}`, () => {
    const tokenizer = make(golden.vocabularies[vocabulary], pre ?? (vocabulary === "bpe" ? "gpt-2" : undefined));
    golden.texts.forEach((text, i) => {
      const got = tokenizer.encode(text, { addSpecial: false, parseSpecial: special });
      assert.deepEqual([...got], ids[i], JSON.stringify(text));
    });
  });
}

// A short first text is merged by the merges that it may need, the fifth and a long one by all of them.
test("ids do not depend on what was encoded before", () => {
  const few = golden.texts.filter((text) => Buffer.byteLength(text) < 1000);
  for (const pre of ["gpt-2", "llama-bpe", "qwen2", "glm4"]) {
    const whole = make(bpe, pre);
    whole.encode("x".repeat(5000));
    for (const [i, text] of few.entries()) {
      const fresh = make(bpe, pre);
      for (const one of [text, few[(i + 1) % few.length]!, ` ${text}`])
        assert.deepEqual(fresh.encode(one), whole.encode(one), JSON.stringify([pre, one]));
    }
  }
});

test("every known pre-tokenizer loads, an unknown one is named", () => {
  for (const name of preTokenizerNames) assert.equal(make(bpe, name).preTokenizer, name);
  assert.ok(preTokenizerNames.length > 80);
  assert.throws(() => make(bpe, "klingon"), { code: "TOKENIZER_UNSUPPORTED", message: /'klingon'/ });
  assert.throws(() => make(bpe, "gpt-2", { model: { type: "string", value: "rwkv" } }), {
    code: "TOKENIZER_UNSUPPORTED",
  });
});

test("random Unicode text survives encode and decode", () => {
  const tokenizers = [make(bpe, "gpt-2"), make(bpe, "llama-bpe"), make(bpe, "deepseek-v3"), make(spm)];
  const text = fc.string({
    unit: fc.oneof(fc.constantFrom(..."the cat \n\t'1\u0085\ufeff"), fc.constant("\u{1f642}")),
    maxLength: 60,
  });
  for (const tokenizer of tokenizers) {
    fc.assert(
      fc.property(fc.oneof(text, fc.string({ unit: "binary" })), (s) => {
        assert.equal(
          tokenizer.decode(tokenizer.encode(s, { addSpecial: false })),
          s.replace(/\p{Surrogate}/gu, "\ufffd"),
        );
      }),
      { numRuns: 150 },
    );
  }
});

test("BOS and EOS as the metadata says", () => {
  const both = { add_bos_token: bool(true), add_eos_token: bool(true) };
  const t = make(bpe, "gpt-2", both);
  assert.deepEqual([...t.encode("")], [bpe.bos, bpe.eos]);
  assert.deepEqual([...t.encode("", { addSpecial: false })], []);
  assert.equal(make(bpe, "gpt-2").addBos, false);
  assert.equal(make(bpe, "llama-bpe").addBos, true);
  assert.equal(make(bpe, "llama-bpe", { add_bos_token: bool(false) }).addBos, false);
  assert.equal(make(spm).addBos, true);
  // An id outside the vocabulary is ignored: nothing is added.
  const none = make(bpe, "glm4", { ...both, bos_token_id: u32(1e9) });
  assert.equal(none.special.bos, undefined);
  assert.deepEqual([...none.encode("")], [bpe.eos]);
});

test("no space before the text when add_space_prefix is false", () => {
  const t = make(spm, undefined, { add_space_prefix: bool(false) });
  assert.notDeepEqual([...t.encode("the")], [...make(spm).encode("the")]);
  assert.equal(t.decode(t.encode(" the")), " the");
});

test("control tokens come from the template only", () => {
  const t = make(bpe, "gpt-2");
  const end = t.tokenId("<|end|>")!;
  const user = t.tokenId("<|user|>")!;
  const tool = t.tokenId("<tool>")!;
  assert.ok(![...t.encode("<|end|><tool>")].includes(end));
  assert.ok([...t.encode("<|end|><tool>")].includes(tool), "user-defined tokens always count");
  const ids = t.encodeSegments([
    { text: "<|user|>", user: false },
    { text: "the <|end|> cat", user: true },
    { text: "<|end|>", user: false },
  ]);
  assert.equal(ids[0], user);
  assert.equal(ids.at(-1), end);
  assert.equal([...ids].filter((id) => id === end).length, 1);
  assert.equal(t.decode(ids, { special: true }), "<|user|>the <|end|> cat<|end|>");
  // Not across a border either.
  const across = t.encodeSegments([
    { text: "<|en", user: true },
    { text: "d|>", user: false },
  ]);
  assert.ok(![...across].includes(end));
});

test("segments are one text: ids do not depend on where the borders are", () => {
  const t = make(bpe, "gpt-2");
  const whole = [...t.encode("say the cat", { addSpecial: false })];
  const cut = t.encodeSegments([
    { text: "say t", user: false },
    { text: "he c", user: true },
    { text: "at", user: false },
  ]);
  assert.deepEqual([...cut], whole);
});

test("BOS is added to segments unless they begin with it", () => {
  const t = make(bpe, "llama-bpe");
  assert.equal(t.encodeSegments([{ text: "x", user: true }])[0], bpe.bos);
  const own = t.encodeSegments([{ text: "<|begin|>x", user: false }]);
  assert.equal([...own].filter((id) => id === bpe.bos).length, 1);
});

test("end of generation: by metadata and by text; gpt-oss keeps <|end|> inside", () => {
  assert.deepEqual([...make(bpe, "gpt-2").endOfGeneration], [bpe.eos]);
  const harmony = [...bpe.tokens, "<|return|>", "<|call|>", "<|channel|>"];
  const [ret, call, channel] = [harmony.length - 3, harmony.length - 2, harmony.length - 1];
  const types = { ...bpe.types, [ret]: 3, [call]: 3, [channel]: 3 };
  const t = make({ ...bpe, tokens: harmony, types, eos: ret }, "gpt-4o");
  assert.deepEqual(new Set(t.endOfGeneration), new Set([ret, call]));
  assert.equal(t.decode([channel]), "<|channel|>", "channel markers are shown");
  assert.ok(![...t.encode("<|channel|>")].includes(channel), "and still not taken from a user's text");
});

test("kinds and pieces", () => {
  const t = make(spm);
  assert.equal(t.tokenKind(0), "unknown");
  assert.equal(t.tokenKind(1), "control");
  assert.equal(t.tokenKind(3), "byte");
  assert.deepEqual([...t.pieceBytes(3 + 0xff)], [0xff]);
  assert.equal(t.piece(3 + 10), "<0x0A>");
  assert.equal(t.tokenKind(t.tokenId("<tool>")!), "user");
  assert.equal(make(bpe, "gpt-2").piece(32), "\u0120");
});

test("damaged vocabularies are refused or tolerated, never a crash", () => {
  const bad: [string, GoldenVocabulary, Record<string, TypedValue | undefined>][] = [
    ["no tokens", bpe, { tokens: strings([]) }],
    ["tokens missing", bpe, { tokens: undefined }],
    ["model missing", bpe, { model: undefined }],
    ["merges missing", bpe, { merges: undefined }],
    ["types too short", bpe, { token_type: { type: "array", element: "i32", value: Int32Array.of(1, 2) } }],
    ["scores too short", spm, { scores: { type: "array", element: "f32", value: Float32Array.of(1) } }],
    [
      "scores not numbers",
      spm,
      { scores: { type: "array", element: "f32", value: new Float32Array(spm.tokens.length).fill(Number.NaN) } },
    ],
  ];
  for (const [name, vocabulary, change] of bad) {
    const pre = vocabulary === bpe ? "gpt-2" : undefined;
    assert.throws(() => make(vocabulary, pre, change), { code: "TOKENIZER_INVALID" }, name);
  }
  assert.throws(() => make(bpe, "gpt-2", { tokens: u32(1) }), HundredweightError);

  const text = "the cat\n\u00e9\u{1f642} <|end|>";
  const tolerated: [string, GoldenVocabulary, Record<string, TypedValue | undefined>][] = [
    [
      "merges of absent texts",
      bpe,
      { merges: strings(["zz qq", "q q", " ", "", "x", "  ", "\u4e16 \u754c", ...bpe.merges!]) },
    ],
    [
      "equal and empty tokens",
      bpe,
      { tokens: strings(bpe.tokens.map((t, i) => (i % 3 === 0 ? "" : i % 3 === 1 ? "a" : t))) },
    ],
    [
      "invalid UTF-8",
      bpe,
      { tokens: strings(bpe.tokens.map((t, i) => (i % 2 === 0 ? Uint8Array.of(0xff, 0xc4) : t))) },
    ],
    [
      "unknown types",
      bpe,
      { token_type: { type: "array", element: "i32", value: new Int32Array(bpe.tokens.length).fill(-7) } },
    ],
    ["ids out of range", spm, { bos_token_id: u32(1e9), eos_token_id: u32(4e9), unknown_token_id: u32(1e6) }],
    ["no byte tokens", spm, { tokens: strings(spm.tokens.map((t) => t.replace("<0x", "<1x"))) }],
    ["one token", spm, { tokens: strings(["a"]) }],
  ];
  for (const [name, vocabulary, change] of tolerated) {
    const t = make(vocabulary, vocabulary === bpe ? "gpt-2" : undefined, change);
    for (const special of [false, true]) {
      const ids = t.encode(text, { parseSpecial: special });
      assert.ok(
        ids.every((id) => id >= 0 && id < t.size),
        name,
      );
      assert.equal(typeof t.decode(ids), "string");
    }
  }
});

test("lone surrogates become U+FFFD", () => {
  const t = make(bpe, "gpt-2");
  assert.equal(t.decode(t.encode("a\ud800b")), "a\ufffdb");
});

test("a person's text becomes no control, unknown or unused token, however its vocabulary is made", () => {
  // Words that the golden vocabularies reach by merges, declared to be something else.
  for (const [vocabulary, pre] of [
    [spm, undefined],
    [bpe, "gpt-2"],
    [bpe, "llama-bpe"], // looks whole pieces up
  ] as const) {
    const plain = make(vocabulary, pre);
    const words = ["the", " the", "a", "and", " of", "e", "in"];
    const ids = [...new Set(words.flatMap((word) => [...plain.encode(word, { addSpecial: false })]))];
    const letters = vocabulary.tokens.indexOf("he");
    for (const type of [2, 3, 5]) {
      const types = Int32Array.from(vocabulary.tokens, (_, id) =>
        ids.includes(id) || id === letters ? type : (vocabulary.types[id] ?? 1),
      );
      const t = make(vocabulary, pre, { token_type: { type: "array", element: "i32", value: types } });
      for (const text of ["the", " the and of the", "ae in the", "theeee the", "x the\\n"]) {
        const got = [...t.encode(text, { addSpecial: false })];
        const hidden = got.filter((id) => ["control", "unknown", "unused"].includes(t.tokenKind(id)));
        // What cannot be written any other way is the unknown token of SentencePiece, which says nothing.
        assert.deepEqual(
          hidden.filter((id) => id !== t.special.unknown),
          [],
          `${vocabulary.model} ${pre} type ${type}: ${text}`,
        );
      }
    }
  }
});
