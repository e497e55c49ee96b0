/** Being told, in Chromium: titles of hidden tabs, a notification one asked for, dots, failures in plain words. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Page } from "playwright-core";
import type { Conversation } from "../../src/server/ui/wire.js";
import { violations } from "../support/axe.js";
import { importTurns } from "../support/conversation.js";
import { api, inBrowser, openPage, say, serve, showSide, skipPage, until } from "../support/page.js";

const setHidden = (page: Page, hidden: boolean) =>
  page.evaluate(`Object.defineProperty(document, "hidden", { value: ${hidden}, configurable: true });
    document.dispatchEvent(new Event("visibilitychange"))`);

describe("being told", { skip: skipPage }, () => {
  const here = inBrowser(() => serve({ slow: true }));

  it("after a while one may ask to be told; a hidden tab says how far it is, and that it is ready", async () => {
    const { url } = here.served;
    const sampling = { seed: 7, maxTokens: 400 };
    const { id } = await api<Conversation>(url, "POST", "/ui/conversations", { title: "Long", sampling });
    const { page, faults } = await openPage(here.browser, "about:blank");
    // As a browser whose user says yes.
    await page.addInitScript(`window.Notification = class {
      static permission = "default";
      static requestPermission = async () => (Notification.permission = "granted");
      constructor(title, options) { window.told = title + ": " + options.body; }
    };`);
    await page.goto(`${url}/#/c/${id}`);
    await say(page, "And it came to pass in those days. ".repeat(8));
    await page.waitForSelector(".message.assistant[data-state=running]");
    assert.equal(await page.locator(".tell-me").count(), 0);
    // As if 30 s were over.
    await page.evaluate("{ const now = performance.now.bind(performance); performance.now = () => now() + 30_000; }");
    await page.waitForSelector(".tell-me");
    assert.deepEqual(await violations(page), []);
    await page.click(".tell-me :text-is('Tell me when it is done')");
    await page.waitForSelector(".tell-me", { state: "detached" });
    const other = await openPage(here.browser, url);
    await showSide(other.page);
    await other.page.waitForSelector(`.row:has(a[href='#/c/${id}']) .state-dot.running`);
    await setHidden(page, true);
    await until(async () => /^\d+ tokens? · Long$/.test(await page.title()));
    await api(url, "POST", `/ui/conversations/${id}/stop`, { message: (await read(url, id)).leaf });
    await until(async () => (await page.title()) === "✓ Ready · Long");
    assert.equal(await page.evaluate("window.told"), "The answer is ready: Long");
    await setHidden(page, false);
    await until(async () => (await page.title()) === "Long");
    // Where it was not seen it has a dot, until it is.
    await other.page.waitForSelector(`.row:has(a[href='#/c/${id}']) .state-dot.unread`);
    await other.page.click(`.row a[href='#/c/${id}']`);
    await other.page.waitForSelector(".state-dot.unread", { state: "detached" });
    assert.equal(await page.locator(".state-dot.unread").count(), 0);
    assert.deepEqual([...faults, ...other.faults], []);
    await page.context().close();
    await other.page.context().close();
  });
  const read = (url: string, id: string) => api<Conversation>(url, "GET", `/ui/conversations/${id}`);

  it("the first minute: how fast it is in words, and something to begin with", async () => {
    const { page, faults } = await openPage(here.browser, here.served.url);
    // It has measured itself by now; on a busy machine a word may take longer than a second.
    await page.waitForSelector(
      ".welcome :text-matches('^Answers at (about .* a second|a word in .*)[.] Reads a page of text in ')",
    );
    await page.fill(".composer textarea", "x");
    assert.equal(await page.locator(".starters").count(), 0, "a model without a template continues texts");
    assert.deepEqual(faults, []);
    await page.context().close();
  });

  it("a failure is said in plain words, its code stands behind", async () => {
    const error = { code: "ENGINE_CRASHED", message: "the engine's process ended" };
    const id = await importTurns(here.served.url, "Failed", [["a", "half", { state: "failed", error }]]);
    const { page } = await openPage(here.browser, `${here.served.url}/#/c/${id}`);
    await page.waitForSelector(".failure p:has-text('The engine ended while it wrote')");
    assert.equal(await page.locator(".failure code").isVisible(), false);
    await page.click(".failure summary");
    await page.waitForSelector(".failure code:text-is('ENGINE_CRASHED')", { state: "visible" });
    assert.equal(await page.locator(":text-is('Continue')").count(), 1);
    await page.context().close();
  });
});
