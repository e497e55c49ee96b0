import assert from "node:assert/strict";
import { test } from "node:test";
import { forTerminal, printable, printableJson, printableLines } from "./printable.js";

const foreign = "\u001b]0;pwn\u0007\u001b[2J\r\nfake\u009b1m\u007f\u202egnp.exe\u2066\u2028\ufeff\u{e0041}";

test("control characters, C1, overrides of direction, separators and tags are shown, nothing else is touched", () => {
  const shown =
    "\\u001b]0;pwn\\u0007\\u001b[2J\\u000d\\u000afake\\u009b1m\\u007f\\u202egnp.exe\\u2066\\u2028\\ufeff\\u{e0041}";
  assert.equal(printable(foreign), shown);
  const plain = "modèle 7B – 日本語 👩‍👩‍👧 שלום, naïve 'x' \\u001b";
  assert.equal(printable(plain), plain);
  assert.equal(printable("a\tb\nc"), "a\\u0009b\\u000ac");
  assert.equal(printableLines("a\tb\nc\u001b"), "a\tb\nc\\u001b");
});

test("JSON means the same and holds none of them", () => {
  const json = JSON.stringify({ name: foreign, [foreign]: [foreign] });
  const shown = printableJson(json);
  assert.deepEqual(JSON.parse(shown), JSON.parse(json));
  assert.doesNotMatch(shown, /[\p{Cc}\u202e\u2066\u{e0041}]/u);
});

test("what a model says: no escape reaches a terminal, directions and line ends stay; a pipe gets all of it", () => {
  assert.equal(forTerminal("a\u001b[31m\u009bb\r\n\tשלום\u200f!", true), "a\ufffd[31m\ufffdb\n\tשלום\u200f!");
  assert.equal(forTerminal("a\u001b\r\n", false), "a\u001b\r\n");
});
