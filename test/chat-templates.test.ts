/**
 * Real chat templates, which are not ours to ship, beside Python's Jinja2: `scripts/fixtures/chat-templates.py` makes
 * the cases.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { type Dict, JinjaTemplate, plain, readJson, type Str, TemplateFault } from "../src/chat/jinja/index.js";
import type { List } from "../src/chat/jinja/values.js";

const path = process.env.HUNDREDWEIGHT_CHAT_CASES;
const skip = path === undefined ? "HUNDREDWEIGHT_CHAT_CASES is not set: real chat templates are NOT compared" : false;
const environment = { now: () => new Date(2026, 10, 28, 19, 45, 31) };

function render(source: string, values: Dict): string | null {
  try {
    return plain(new JinjaTemplate(source).render(values, { environment }));
  } catch (error) {
    assert.ok(error instanceof TemplateFault, String(error));
    return null;
  }
}

test("real chat templates render every conversation byte for byte as Python", { skip }, (t) => {
  const file = readJson(readFileSync(path!, "utf8")) as Dict;
  const items = (dict: Dict, key: string) => (dict.get(key) as List).items as Dict[];
  const conversations = items(file, "conversations");
  const wrong: string[] = [];
  let refused = 0;
  for (const template of items(file, "templates")) {
    for (const [i, expected] of items(template, "texts").entries()) {
      const text = expected === null ? null : plain(expected as unknown as Str);
      const got = render(plain(template.get("source") as Str), conversations[i]!);
      refused += text === null ? 1 : 0;
      if (got !== text) wrong.push(`${plain(template.get("name") as Str)}, conversation ${i}`);
    }
  }
  t.diagnostic(
    `${items(file, "templates").length} templates, ${conversations.length} conversations, ${refused} refused by both`,
  );
  assert.deepEqual(wrong, []);
});
