/**
 * The Jinja cases under HUNDREDWEIGHT_VECTORS: llama.cpp's engine tests, and random ones with what Python's Jinja2
 * renders.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { type Dict, JinjaTemplate, plain, readJson, type Str, TemplateFault } from "../src/chat/jinja/index.js";
import type { List } from "../src/chat/jinja/values.js";

const root = process.env.HUNDREDWEIGHT_VECTORS;
const skip = root === undefined ? "HUNDREDWEIGHT_VECTORS is not set: Jinja cases are NOT tested" : false;
const read = (file: string) => readJson(readFileSync(join(root!, "vectors/chat-templates", file), "utf8"));
const textOf = (dict: Dict, key: string): string => plain(dict.get(key) as Str);

/** @returns the text, or the kind of fault */
function render(template: string, values: Dict): { readonly text?: string; readonly fault?: string } {
  try {
    return { text: plain(new JinjaTemplate(template).render(values)) };
  } catch (error) {
    assert.ok(error instanceof TemplateFault, `${template}: ${error}`);
    return { fault: error.kind };
  }
}

test("llama.cpp's engine cases render as Python's Jinja2 renders them", { skip }, () => {
  const cases = (read("jinja-cases.json") as List).items as Dict[];
  const python = cases.filter((c) => c.get("python_jinja2") === true);
  const wrong = python.filter((c) => {
    const { text } = render(textOf(c, "template"), c.get("vars") as Dict);
    return text !== textOf(c, "expect");
  });
  assert.equal(python.length, 140);
  assert.deepEqual(
    wrong.map((c) => textOf(c, "name")),
    [],
  );
});

test("what Python's Jinja2 made of expressions of every kind is what we make of them", { skip }, () => {
  const file = read("jinja-differential.json") as Dict;
  const cases = (file.get("cases") as List).items as Dict[];
  const wrong = cases.filter((c) => {
    const { text, fault } = render(textOf(c, "template"), file.get("vars") as Dict);
    return c.has("raises") ? fault !== textOf(c, "raises") : text !== textOf(c, "expect");
  });
  assert.equal(cases.length, 384);
  assert.deepEqual(
    wrong.map((c) => textOf(c, "template")),
    [],
  );
});
