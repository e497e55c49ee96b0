/** Colours are for terminals, and for those who did not ask to be spared. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { coloured, showsColour } from "./colour.js";

test("a terminal has colours, a pipe, NO_COLOR and a dumb terminal have none", () => {
  const terminal = { isTTY: true };
  assert.equal(showsColour(terminal, {}), true);
  assert.equal(showsColour(terminal, { NO_COLOR: "" }), true);
  assert.equal(showsColour(terminal, { NO_COLOR: "1" }), false);
  assert.equal(showsColour(terminal, { TERM: "dumb" }), false);
  assert.equal(showsColour({}, {}), false);
});

test("a colour ends where its text does", () => {
  assert.equal(coloured("red", "error", true), "\x1b[31merror\x1b[39m");
  assert.equal(coloured("dim", "hint", false), "hint");
});
