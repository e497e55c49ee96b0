/** Calls of tools and the form of answers on the page: calls are folded, settings are kept and obeyed. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { Browser } from "playwright-core";
import { callClosing, callOpening } from "../../src/chat/call-text.js";
import type { Conversation } from "../../src/server/ui/wire.js";
import { importTurns } from "../support/conversation.js";
import { api, launchBeside, openPage, type Served, say, serve, skipPage } from "../support/page.js";

describe("calls and forms on the page", { skip: skipPage }, () => {
  let browser: Browser;
  let served: Served;
  before(async () => {
    [browser, served] = await launchBeside(serve());
  });
  after(async () => {
    await browser?.close();
    await served?.stop();
  });

  it("a call is shown folded, with its name, and opens", async () => {
    const call = `${callOpening("call_1", "get_weather")}{"city": "Rome", "days": 3}${callClosing}`;
    const id = await importTurns(served.url, "calls", [["Weather?", `I look it up.\n${call}\n`]]);
    const { page, faults } = await openPage(browser, `${served.url}/#/c/${id}`);
    const head = page.locator(".call .thinking-head");
    await head.waitFor();
    assert.match((await head.textContent())!, /Call of get_weather/);
    assert.equal(await page.locator(".call-arguments").count(), 0);
    assert.match((await page.locator(".message.assistant .prose").textContent())!.trim(), /^I look it up\.$/);
    await head.click();
    assert.equal(await page.locator(".call-arguments").textContent(), '{\n  "city": "Rome",\n  "days": 3\n}');
    assert.equal(await page.locator(".message.assistant >> text=its result").count(), 1);
    assert.deepEqual(faults, []);
    await page.context().close();
  });

  it("a schema and an effort are kept, and the answer has the form", async () => {
    const { id } = await api<Conversation>(served.url, "POST", "/ui/conversations", {
      sampling: { seed: 7, maxTokens: 200 },
    });
    const { page, faults } = await openPage(browser, `${served.url}/#/c/${id}`);
    await page.click("[aria-label='System prompt and sampler']");
    await page.selectOption("#field-effort", "low");
    await page.click("text=Form and tools");
    const schema = page.locator("textarea.code").first();
    await schema.fill('{"enum": ["yes"');
    await schema.blur();
    await page.waitForSelector(".panel [role=alert]");
    await schema.fill('{"enum": ["yes", "no"]}');
    await schema.blur();
    await page.waitForSelector(".panel [role=alert]", { state: "detached" });
    await say(page, "Is it?");
    await page.waitForSelector(".message.assistant:last-of-type:not([data-state=running])");
    const stored = await api<Conversation>(served.url, "GET", `/ui/conversations/${id}`);
    assert.deepEqual(stored.form, { effort: "low", schema: '{"enum": ["yes", "no"]}' });
    assert.match(stored.messages[1]!.content, /^"(yes|no)"$/);
    assert.deepEqual(faults, []);
    await page.context().close();
  });
});
