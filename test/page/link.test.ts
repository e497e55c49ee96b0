/** A page that is hidden, cut off, asleep, or whose server ends and comes back: it says so and goes on by itself. */
import assert from "node:assert/strict";
import { after, before, describe, it, type TestContext } from "node:test";
import type { Browser, Page } from "playwright-core";
import type { Conversation } from "../../src/server/ui/wire.js";
import { type Link, openLink } from "../support/link.js";
import { api, launch, openPage, type Served, say, serve, skipPage, until } from "../support/page.js";

const portOf = ({ url }: Served) => Number(new URL(url).port);

describe("the page and its line to the server", { skip: skipPage }, () => {
  let browser: Browser;
  before(async () => {
    browser = await launch();
  });
  after(() => browser?.close());

  /** An answer of some seconds, and a page that looks at it over a line of its own. */
  async function watched(t: TestContext, served: Served): Promise<{ page: Page; link: Link; id: string }> {
    const link = await openLink(portOf(served));
    t.after(() => link.close());
    const sampling = { seed: 7, maxTokens: 400 };
    const { id } = await api<Conversation>(served.url, "POST", "/ui/conversations", { sampling });
    const { page } = await openPage(browser, `${link.url}/#/c/${id}`);
    t.after(() => page.context().close());
    await say(page, "And it came to pass");
    await page.waitForSelector(".message.assistant[data-state=running] .prose");
    return { page, link, id };
  }
  const words = async (page: Page) => (await page.locator(".message.assistant .prose").textContent()) ?? "";
  const stored = async (served: Served, id: string) =>
    (await api<Conversation>(served.url, "GET", `/ui/conversations/${id}`)).messages[1]!;
  const outage = (page: Page) => page.locator(".outage").textContent();
  const setHidden = (page: Page, hidden: boolean) =>
    page.evaluate(`Object.defineProperty(document, "hidden", { value: ${hidden}, configurable: true });
      document.dispatchEvent(new Event("visibilitychange"))`);

  it("hidden, it reads nothing and the answer goes on; seen again, it catches up", async (t) => {
    const served = await serve({ slow: true });
    t.after(() => served.stop());
    const { page, id } = await watched(t, served);
    await setHidden(page, true);
    await until(async () => served.server.context.status.latest !== undefined);
    const early = await words(page);
    await until(async () => (await stored(served, id)).content.length > early.length + 40);
    assert.ok((await words(page)).length <= early.length + 20, "nothing is shown to nobody");
    await setHidden(page, false);
    await until(async () => (await words(page)).length > early.length + 40);
    assert.equal(await outage(page), "");
    await page.keyboard.press("Escape");
    await page.waitForSelector(".message.assistant[data-state=stopped]");
    assert.ok((await stored(served, id)).content.startsWith(early.trim().slice(0, 10)));
  });

  it("cut off, it says so; back, it has what came meanwhile", async (t) => {
    const served = await serve({ slow: true });
    t.after(() => served.stop());
    const { page, link, id } = await watched(t, served);
    const stops = page.locator(".composer .stop");
    assert.equal(await stops.count(), 1);
    link.lead(undefined);
    await until(async () => /does not answer/.test((await outage(page)) ?? ""));
    await until(async () => (await stops.count()) === 0);
    const early = await words(page);
    await until(async () => (await stored(served, id)).content.length > early.length + 40);
    link.lead(portOf(served));
    await page.evaluate(`dispatchEvent(new Event("online"))`);
    await until(async () => (await outage(page)) === "");
    await until(async () => (await words(page)).length > early.length + 40);
    await until(async () => (await stops.count()) === 1);
  });

  it("after a sleep its connections are dead without a word: it makes new ones", async (t) => {
    const served = await serve({ slow: true });
    t.after(() => served.stop());
    const { page, link, id } = await watched(t, served);
    link.silence();
    const early = await words(page);
    await until(async () => (await stored(served, id)).content.length > early.length + 40);
    assert.ok((await words(page)).length < early.length + 40);
    // The clock on the wall goes on during a sleep, timers do not.
    await page.evaluate("{ const now = Date.now; Date.now = () => now() + 3_600_000; }");
    await until(async () => (await words(page)).length > early.length + 40);
  });

  it("a server that drains says so, its end is told, and its successor is found", async (t) => {
    const first = await serve({ slow: true });
    t.after(() => first.stop());
    const { page, link, id } = await watched(t, first);
    const { content: early } = await stored(first, id);
    const ended = first.server.stop(3000);
    await until(async () => /is ending/.test((await outage(page)) ?? ""));
    assert.equal(await page.getAttribute(".composer textarea", "placeholder"), "The server is ending");
    await page.waitForSelector(".message.assistant:not([data-state=running])");
    await until(async () => /has ended/.test((await outage(page)) ?? ""));
    await ended;
    const second = await serve({ slow: true, config: { dataFolder: first.data } });
    t.after(() => second.stop());
    link.lead(portOf(second));
    await page.waitForSelector(".notice:has-text('started again')");
    await until(async () => (await outage(page)) === "");
    assert.ok((await words(page)).length >= early.trim().length);
    await page.click(".message.assistant [aria-label='Answer again']");
    await page.waitForSelector(".message.assistant[data-state=running] .prose");
    await page.keyboard.press("Escape");
    await page.waitForSelector(".message.assistant[data-state=stopped]");
  });
});
