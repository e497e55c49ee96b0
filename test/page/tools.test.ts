/**
 * Conveniences of the chat: files put into a message, how full the context is, search in messages, long conversations.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Page } from "playwright-core";
import type { Conversation } from "../../src/server/ui/wire.js";
import { importTurns } from "../support/conversation.js";
import { api, inBrowser, openPage, showSide, skipPage, until } from "../support/page.js";

describe("the tools of the chat", { skip: skipPage }, () => {
  const here = inBrowser();

  it("files of text are chips with their tokens and go into the message; others are refused by name", async () => {
    const { page, faults } = await openPage(here.browser, here.served.url);
    await page.fill(".composer textarea", "Explain:");
    const file = (name: string, content: string | Buffer) => ({
      name,
      mimeType: "application/octet-stream",
      buffer: Buffer.from(content),
    });
    await page.setInputFiles(".attached", [
      file("fence.md", "```\ncode\n```"),
      file("a.py", "x = 1\n"),
      file("gone.txt", "not this one"),
      file("picture.png", Buffer.from([0x89, 0x50, 0x4e, 0x47, 0, 0xff])),
    ]);
    await page.waitForSelector(".notice.error:has-text('picture.png is a picture: this model reads text only.')");
    assert.equal(await page.inputValue(".composer textarea"), "Explain:");
    await until(async () => (await page.locator(".chip:has-text('tokens')").count()) === 3);
    await page.click("[aria-label='Remove gone.txt']");
    assert.deepEqual(await page.locator(".chip-name").allInnerTexts(), ["fence.md", "a.py"]);
    await page.press(".composer textarea", "Enter");
    await page.waitForSelector(".message.user");
    assert.equal(await page.locator(".chip").count(), 0);
    const id = page.url().split("/").at(-1)!;
    const { messages } = await api<Conversation>(here.served.url, "GET", `/ui/conversations/${id}`);
    assert.equal(
      messages[0]!.content,
      "Explain:\n\nfence.md:\n````md\n```\ncode\n```\n````\n\n\na.py:\n```py\nx = 1\n```\n",
    );
    await page.keyboard.press("Escape");
    await page.waitForSelector(".message.assistant:not([data-state=running])");
    assert.deepEqual(faults, []);
    await page.context().close();
  });

  it("the context fills up, and says so before it is full", async () => {
    const { contextTokens } = here.served.server.context.model.info!;
    const stats = { cachedTokens: 0, prefillMs: 1, decodeMs: 1, generatedTokens: 24 };
    const meter = async (promptTokens: number) => {
      const id = await importTurns(here.served.url, "Filling", [["a", "b", { stats: { ...stats, promptTokens } }]]);
      const { page, faults } = await openPage(here.browser, `${here.served.url}/#/c/${id}`);
      await page.waitForSelector(".context-use");
      const words = await page.getAttribute(".context-use meter", "aria-valuetext");
      const full = await page.getAttribute(".context-use", "data-full");
      assert.deepEqual(faults, []);
      await page.context().close();
      return [words, full];
    };
    const of = `of ${contextTokens.toLocaleString("en-US")} tokens of context`;
    assert.deepEqual(await meter(76), [`100 ${of}`, "false"]);
    assert.deepEqual(await meter(contextTokens - 50), [
      `${(contextTokens - 26).toLocaleString("en-US")} ${of}`,
      "true",
    ]);
  });

  it("a search finds titles and words of messages, and shows where", async () => {
    await importTurns(here.served.url, "Reptiles", [["Which is the largest?", "The saltwater crocodile, of course."]]);
    await api<Conversation>(here.served.url, "POST", "/ui/conversations", { title: "A Crocodile" });
    const { page, faults } = await openPage(here.browser, here.served.url);
    await showSide(page);
    await page.fill("[aria-label='Search conversations']", "CROCODILE");
    await until(async () => (await page.locator(".row").count()) === 2);
    assert.deepEqual(await page.locator(".row-title").allInnerTexts(), ["A Crocodile", "Reptiles"]);
    assert.deepEqual(await page.locator(".row-excerpt").allInnerTexts(), ["The saltwater crocodile, of course."]);
    await page.fill("[aria-label='Search conversations']", "no such words");
    await page.waitForSelector(".rows-empty:text-is('Nothing found.')");
    assert.deepEqual(faults, []);
    await page.context().close();
  });

  const shown = (page: Page) => page.locator(".message").count();

  it("a long conversation is there from its end, and what is read does not move while the rest comes", async () => {
    const turns = Array.from({ length: 150 }, (_, i) => [`Question ${i}`, `Answer **${i}**\n\n- and\n- more`] as const);
    const id = await importTurns(here.served.url, "Long", turns);
    const { page, faults } = await openPage(here.browser, `${here.served.url}/#/c/${id}`);
    await page.waitForSelector(".message:last-child .prose:has-text('Answer 149')");
    const gap = `(({ scrollHeight, scrollTop, clientHeight }) => scrollHeight - scrollTop - clientHeight)(
      document.querySelector(".messages"))`;
    await until(async () => Number(await page.evaluate(gap)) < 2);
    await page.evaluate(`document.querySelector(".messages").scrollTop -= 300`);
    const place = async () => (await page.locator(".message:has-text('Answer 147')").boundingBox())!.y;
    const before = await place();
    await until(async () => (await shown(page)) === 300);
    assert.ok(Math.abs((await place()) - before) < 3);
    const texts = await page.locator(".user-words").allInnerTexts();
    assert.deepEqual(
      texts,
      turns.map(([question]) => question),
    );
    assert.deepEqual(faults, []);
    await page.context().close();
  });
});
