import assert from "node:assert/strict";
import { test } from "node:test";
import type { HundredweightError } from "../errors.js";
import { JsonReader } from "./json-reader.js";

const read = (text: string | Uint8Array) => {
  const reader = new JsonReader(typeof text === "string" ? Buffer.from(text) : text, "a.json");
  const value = reader.value();
  reader.end();
  return value;
};
const plain = (value: unknown): unknown => JSON.parse(JSON.stringify(value));

test("reads what JSON.parse reads", () => {
  for (const text of [
    '{"a": [1, -2.5e3, true, false, null, ""], "b": {"c": "\\u00e9\\n\\ud83d\\ude00\\\\"}, "": {}}',
    " [ ] ",
    '"\u2581\u00e9\ud83d\ude00"',
    "-0.5",
    '{"__proto__": 1}',
  ])
    assert.deepEqual(plain(read(text)), JSON.parse(text));
});

test("numbers as Python writes them", () => {
  assert.deepEqual(read("[NaN, Infinity, -Infinity]"), [Number.NaN, Infinity, -Infinity]);
});

test("a byte order mark is no text, half a surrogate pair is U+FFFD", () => {
  assert.equal(read(Buffer.from('\ufeff"a"')), "a");
  assert.equal(read('"\\ud83d"'), "\ufffd");
  assert.equal(read('"\\ud83dx"'), "\ufffdx");
  assert.equal(read('"\\ude00"'), "\ufffd");
});

test("whatever is no JSON is an error that says where", () => {
  for (const text of [
    "",
    "{",
    "[1,]",
    "[1 2]",
    '{"a" 1}',
    '{"a": }',
    '"a',
    '"\\',
    '"\\u12g4"',
    '"\\x"',
    '"a\nb"',
    "tru",
    "1.",
    "01x",
    "1 1",
    "{1: 2}",
    "+1",
  ])
    assert.throws(
      () => read(text),
      (error: HundredweightError) =>
        error.code === "FORMAT_INVALID" && /^a\.json: .* at byte \d+ of its JSON$/.test(error.message),
      text,
    );
});

test("deep nesting is refused, not the stack's to bear", () => {
  for (const deep of ["[".repeat(1_000_000), '{"a":'.repeat(1_000_000)]) {
    assert.throws(() => read(deep), /more than 64 levels/);
    assert.throws(() => new JsonReader(Buffer.from(deep), "a").skip(), /more than 64 levels/);
  }
});

test("keys come as they stand, also twice", () => {
  const keys: string[] = [];
  const reader = new JsonReader(Buffer.from('{"a": 1, "a": [2], "b": {"c": 3}}'), "a");
  reader.object((key) => {
    keys.push(key);
    reader.skip();
  });
  assert.deepEqual(keys, ["a", "a", "b"]);
});
