import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { ReasoningSplitter } from "./reasoning.js";

function split(pieces: readonly string[], opened = false, off = false): [reasoning: string, content: string] {
  const splitter = new ReasoningSplitter(opened, off);
  const parts = [...pieces.map((piece) => splitter.push(piece)), splitter.flush()];
  return [parts.map((p) => p.reasoning).join(""), parts.map((p) => p.content).join("")];
}

test("thinking and answer, however they come in pieces", () => {
  const cases: readonly [text: string, opened: boolean, reasoning: string, content: string][] = [
    ["hello <think>x</think>", false, "", "hello <think>x</think>"],
    ["<think>\nwhy  not\n</think>\n\nyes\n", false, "why  not", "yes\n"],
    [" \n<think>a</think>b", false, "a", "b"],
    ["a < b </thin> c</think> d", true, "a < b </thin> c", "d"],
    ["<think></think>\n\nplain", false, "", "plain"],
    ["<think>never ends </thi", false, "never ends </thi", ""],
    ["<thin ice", false, "", "<thin ice"],
    ["  ", false, "", "  "],
    ["<thi", false, "", "<thi"],
    ["", true, "", ""],
  ];
  for (const [text, opened, reasoning, content] of cases) {
    fc.assert(
      fc.property(fc.array(fc.nat(text.length), { maxLength: 12 }), (cuts) => {
        const ends = [0, ...cuts.sort((a, b) => a - b), text.length];
        const pieces = ends.slice(1).map((end, i) => text.slice(ends[i], end));
        assert.deepEqual(split(pieces, opened), [reasoning, content], JSON.stringify(pieces));
        assert.deepEqual(split(pieces, opened, true), ["", text]);
      }),
      { numRuns: 60 },
    );
  }
});
