import assert from "node:assert/strict";
import { test } from "node:test";
import { randomTexts, randomUnigram } from "../../test/support/random-vocabulary.js";
import { metadataOf, strings } from "../../test/support/tokenizer-golden.js";
import { workMs } from "../../test/support/work.js";
import type { TypedValue } from "../formats/index.js";
import { createStreamDecoder, createTokenizer, type Tokenizer } from "./index.js";

const [normal, unknown, control, user, unused, byte] = [1, 2, 3, 4, 5, 6];
type Piece = readonly [text: string, score: number, type?: number];
const bool = (value: boolean): TypedValue => ({ type: "bool", value });
const specials: readonly Piece[] = [
  ["<pad>", 0, control],
  ["</s>", 0, control],
  ["<unk>", 0, unknown],
];

function make(pieces: readonly Piece[], change: Record<string, TypedValue> = {}): Tokenizer {
  const all = [...specials, ...pieces];
  const entries = new Map<string, TypedValue>([
    ["tokenizer.ggml.model", { type: "string", value: "t5" }],
    ["tokenizer.ggml.tokens", strings(all.map(([text]) => text))],
    ["tokenizer.ggml.scores", { type: "array", element: "f32", value: Float32Array.from(all, (p) => p[1]) }],
    [
      "tokenizer.ggml.token_type",
      { type: "array", element: "i32", value: Int32Array.from(all, (p) => p[2] ?? normal!) },
    ],
  ]);
  for (const [key, value] of Object.entries(change)) entries.set(`tokenizer.ggml.${key}`, value);
  return createTokenizer(metadataOf(entries));
}
const pieces = (t: Tokenizer, text: string) => [...t.encode(text, { addSpecial: false })].map((id) => t.piece(id));

test("the highest sum of scores, not the longest piece; user-defined pieces cost nothing", () => {
  const t = make([
    ["a", -3],
    ["b", -3],
    ["c", -3],
    ["ab", -5],
    ["bc", -1],
    ["abc", -5],
    ["xyz", -50, user],
    ["xyzc", -1],
  ]);
  assert.deepEqual(pieces(t, "abc"), ["a", "bc"]);
  assert.deepEqual(pieces(t, "ab"), ["ab"]);
  assert.deepEqual(pieces(t, "xyzc"), ["xyz", "c"], "special tokens are cut out before");
});

test("unknown characters: one token for a run; bytes where all exist; the vocabulary decides nothing else", () => {
  const list: Piece[] = [["a", -1]];
  assert.deepEqual(pieces(make(list), "a\u4e16\u754ca\u{1f642}"), ["a", "<unk>", "a", "<unk>"]);
  const bytes: Piece[] = Array.from({ length: 256 }, (_, b) => [
    `<0x${b.toString(16).toUpperCase().padStart(2, "0")}>`,
    0,
    byte,
  ]);
  const t = make([...list, ...bytes]);
  assert.equal(t.decode(t.encode("a\u4e16\u754ca\u{1f642}", { addSpecial: false })), "a\u4e16\u754ca\u{1f642}");
  assert.deepEqual(pieces(make([...list, ...bytes.slice(1)]), "\u4e16"), ["<unk>"]);
});

test("spaces: kept, merged, one before the text; the ends as the metadata says", () => {
  const list: Piece[] = [
    ["\u2581", -2],
    ["a", -1],
  ];
  assert.deepEqual(pieces(make(list), " a  a "), ["\u2581", "a", "\u2581", "\u2581", "a", "\u2581"]);
  assert.deepEqual(pieces(make(list, { add_space_prefix: bool(true) }), "a a"), ["\u2581", "a", "\u2581", "a"]);
  const merged = make(list, { remove_extra_whitespaces: bool(true) });
  assert.deepEqual(pieces(merged, "  a   a  "), ["\u2581", "a", "\u2581", "a"]);
  assert.deepEqual(pieces(merged, "   "), []);
  assert.equal(merged.decode(merged.encode(" a   a")), "a a");
  assert.deepEqual([...make(list).encode("a")], [4, 1], "EOS by default");
  assert.deepEqual([...make(list, { add_eos_token: bool(false) }).encode("a")], [4]);
});

test("control, unknown and unused pieces are never made of text", () => {
  for (const type of [control, unknown, unused, 0]) {
    const t = make([
      ["a", -3],
      ["b", -3],
      ["ab", -1, type],
      ["<unk>b", -1, type],
    ]);
    assert.deepEqual(pieces(t, "abab"), ["a", "b", "a", "b"]);
    assert.ok(!pieces(t, "<unk>b</s>").includes("</s>"));
  }
  const t = make([["a", -1]]);
  assert.deepEqual([...t.encode("a</s>", { parseSpecial: true, addSpecial: false })], [3, 1]);
});

/** The recurrence over the whole text, without the tree, the cuts and the buffers. */
function bestSum(scores: ReadonlyMap<string, number>, worst: number, text: string): number {
  const points = [...text];
  const best = [0];
  for (let end = 1; end <= points.length; end++) {
    best[end] = Number.NEGATIVE_INFINITY;
    for (let begin = Math.max(0, end - 8); begin < end; begin++) {
      const piece = points.slice(begin, end).join("");
      const score = scores.get(piece) ?? (end - begin === 1 ? worst : undefined);
      if (score !== undefined) best[end] = Math.max(best[end]!, best[begin]! + score);
    }
  }
  return best[points.length]!;
}

test("no better way exists (random vocabulary)", () => {
  const { entries, words } = randomUnigram(7, { merge: false, prefix: false, charsmap: false });
  const t = createTokenizer(metadataOf(entries));
  const values = metadataOf(entries).numbers("tokenizer.ggml.scores")!;
  const scores = new Map<string, number>();
  let lowest = 0;
  for (let id = 0; id < t.size; id++) {
    if (t.tokenKind(id) !== "normal") continue;
    scores.set(t.piece(id), values[id]!);
    lowest = Math.min(lowest, values[id]!);
  }
  let compared = 0;
  for (const text of randomTexts(7, 800, words)) {
    if (/[<\u0000\ud800-\udfff]/.test(text)) continue;
    const escaped = text.replaceAll(" ", "\u2581");
    const ids = [...t.encode(text, { addSpecial: false })];
    if (ids.includes(t.special.unknown!)) continue;
    compared++;
    const sum = ids.reduce((total, id) => total + values[id]!, 0);
    assert.equal(ids.map((id) => t.piece(id)).join(""), escaped);
    const best = bestSum(scores, Math.fround(lowest - 10), escaped);
    assert.ok(Math.abs(best - sum) < 1e-9, `${JSON.stringify(text)}: ${sum}, possible ${best}`);
  }
  assert.ok(compared > 20, `${compared} texts`);
});

test("damaged: scores, charsmap, pieces", () => {
  const invalid = { code: "TOKENIZER_INVALID" };
  for (const score of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
    assert.throws(() => make([["a", score]]), invalid, String(score));
  }
  assert.throws(() => make([["a".repeat(600), -1]]), invalid);
  const u8 = (...value: number[]): TypedValue => ({ type: "array", element: "u8", value: Uint8Array.from(value) });
  assert.throws(() => make([["a", -1]], { precompiled_charsmap: u8(9, 9, 9) }), invalid);
  assert.throws(() => make([["a", -1]], { precompiled_charsmap: u8(4, 0, 0, 0, 255, 255, 255, 255, 0) }), invalid);
  const tolerated = make([
    ["", -1],
    ["a", -1],
    ["a", -2],
    ["\u2581", -3.4e38],
    ["b", 3.4e38],
  ]);
  for (const text of ["a", "aab b", "\u0000", ""]) {
    assert.ok(tolerated.encode(text).every((id) => id >= 0 && id < tolerated.size));
  }
  const none = make([], { unknown_token_id: { type: "u32", value: 1e9 }, eos_token_id: { type: "u32", value: 1e9 } });
  assert.equal(none.decode(none.encode("abc")), "");
});

test("time grows with the length, also of a word without any place to cut", () => {
  // "aa", "aaa" ... overlap everywhere: one stretch from the first letter to the last.
  const t = make(Array.from({ length: 40 }, (_, n): Piece => ["a".repeat(n + 1), -1 - n / 7]));
  const time = (length: number) => {
    const text = "a".repeat(length);
    let best = Number.POSITIVE_INFINITY;
    for (let run = 0; run < 2; run++) {
      const start = workMs();
      t.encode(text);
      best = Math.min(best, workMs() - start);
    }
    return best;
  };
  const short = Math.max(time(20_000), 4);
  const long = time(160_000);
  assert.ok(long < 24 * short, `${short} ms, ${long} ms for 8x`);
  assert.equal(t.encode("a".repeat(1_000_000), { addSpecial: false }).length, 25_000);
});

test("a stream of ids gives the text of the whole", () => {
  const { entries, words } = randomUnigram(3, { byteTokens: true });
  const t = createTokenizer(metadataOf(entries));
  for (const text of randomTexts(3, 300, words)) {
    const ids = t.encode(text);
    const decoder = createStreamDecoder(t);
    assert.equal([...ids].map((id) => decoder.push(id)).join("") + decoder.flush(), t.decode(ids));
  }
});
