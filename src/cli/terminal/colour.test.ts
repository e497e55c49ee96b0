/** Colours are for terminals, and for those who did not ask to be spared. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { betweenColours, coloured, showsColour } from "./colour.js";

test("a terminal has colours, a pipe, NO_COLOR and a dumb terminal have none", () => {
  const terminal = { isTTY: true };
  assert.equal(showsColour(terminal, {}), true);
  assert.equal(showsColour(terminal, { NO_COLOR: "" }), true);
  assert.equal(showsColour(terminal, { NO_COLOR: "1" }), false);
  assert.equal(showsColour(terminal, { TERM: "dumb" }), false);
  assert.equal(showsColour({}, {}), false);
});

test("FORCE_COLOR comes before all of them, as in Node", () => {
  for (const forced of ["", "1", "3", "true"])
    assert.equal(showsColour({}, { FORCE_COLOR: forced, NO_COLOR: "1" }), true);
  for (const forced of ["0", "false"]) assert.equal(showsColour({ isTTY: true }, { FORCE_COLOR: forced }), false);
});

test("only our own colours begin between the parts of a text", () => {
  assert.deepEqual(betweenColours("\x1b[32mx\x1b[39m\x1b[2J\x1b[38;5;1m\x1b[0m"), [
    "",
    "[32mx",
    "[39m\x1b[2J\x1b[38;5;1m\x1b[0m",
  ]);
});

test("a colour ends where its text does", () => {
  assert.equal(coloured("red", "error", true), "\x1b[31merror\x1b[39m");
  assert.equal(coloured("dim", "hint", false), "hint");
});
