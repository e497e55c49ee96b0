/** Tables are aligned by columns of the terminal and end at its edge. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { columnsOf } from "./columns.js";
import { table } from "./table.js";

const columns = [{ title: "name" }, { title: "size", align: "right" }, { title: "path", cut: "start" }] as const;
const rows = [
  ["a model", "1.00 GiB", "/models/one.gguf"],
  ["\u8a00\u8a9e", "12.0 GiB", "/models/another/two.gguf"],
];

test("texts stand below each other, numbers end below each other", () => {
  assert.equal(
    table(columns, rows),
    [
      "name         size  path",
      "a model  1.00 GiB  /models/one.gguf",
      "\u8a00\u8a9e     12.0 GiB  /models/another/two.gguf",
      "",
    ].join("\n"),
  );
});

test("what gives way is cut at the edge, and only there", () => {
  for (let edge = 27; edge < 60; edge++) {
    const lines = table(columns, rows, { edge }).trimEnd().split("\n");
    for (const line of lines) assert.ok(columnsOf(line) <= edge, line);
    assert.ok(lines[2]!.endsWith(".gguf"));
    assert.equal(lines[1]!.includes("..."), edge < 35 || (lines[1]!.length === edge && lines[1]!.includes("...")));
  }
});

test("colours take no columns and paint no spaces; what is foreign cannot act", () => {
  const made = table(
    [{}, {}],
    [
      [{ text: "pinned", colour: "green" }, "1"],
      ["evil\x1b[2J", { text: "\x1b]0;title\x07", colour: "red" }],
    ],
    { colours: true },
  );
  assert.equal(made, "\x1b[32mpinned\x1b[39m         1\nevil\\u001b[2J  \x1b[31m\\u001b]0;title\\u0007\x1b[39m\n");
  assert.doesNotMatch(table([{}], [[{ text: "x", colour: "red" }]]), /\x1b/);
});

test("prose in the last column goes on below itself", () => {
  const prose = [{}, { align: "right" }, { wrap: true }] as const;
  assert.equal(
    table(prose, [["budget", "2 GiB", "works from one gibibyte and a half on this machine"]], { edge: 40 }),
    "budget  2 GiB  works from one gibibyte\n               and a half on this\n               machine\n",
  );
});

test("a cell without text leaves no spaces behind", () => {
  assert.equal(
    table(
      [{}, {}, {}],
      [
        ["a", "b", ""],
        ["aa", "", ""],
        ["aaa", "", "c"],
      ],
    ),
    "a    b\naa\naaa     c\n",
  );
});
