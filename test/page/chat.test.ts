/** Conversations on the page, in Chromium: send, stream, stop, edit, branch, switch, reload, import and export. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import type { Browser, Page } from "playwright-core";
import type { Conversation } from "../../src/server/ui/wire.js";
import {
  api,
  launchBeside,
  type Opened,
  openPage,
  type Served,
  say,
  serve,
  showSide,
  skipPage,
  until,
} from "../support/page.js";

describe("the chat of the page", { skip: skipPage }, () => {
  let browser: Browser;
  let served: Served;
  let slow: Served;
  before(async () => {
    [browser, served, slow] = await launchBeside(serve(), serve({ slow: true }));
  });
  after(async () => {
    await browser?.close();
    await Promise.all([served?.stop(), slow?.stop()]);
  });

  const ended = ".message.assistant:last-of-type:not([data-state=running])";
  /** A conversation whose answers are the same in every run. */
  const begin = (url: string, maxTokens: number) =>
    api<Conversation>(url, "POST", "/ui/conversations", { sampling: { seed: 7, temperature: 0.5, maxTokens } });
  const texts = (page: Page, selector: string) => page.locator(selector).allInnerTexts();

  it("sends, streams, edits into a branch, answers again, walks the branches", async () => {
    const { page, faults } = await openPage(browser, served.url);
    await say(page, "And the king said unto");
    await page.waitForSelector(".message.assistant .prose");
    await page.keyboard.press("Escape"); // the model may go on to the end of its context
    await page.waitForSelector(ended);
    const id = page.url().split("/").at(-1)!;
    await api(served.url, "PATCH", `/ui/conversations/${id}`, { sampling: { seed: 7, maxTokens: 12 } });

    await page.hover(".message.user");
    await page.click(".message.user .edit");
    await page.fill(".editor textarea", "In the beginning");
    await page.press(".editor textarea", "Enter");
    await page.waitForSelector(".message.user:has-text('In the beginning')");
    await page.waitForSelector(ended);
    assert.deepEqual(await texts(page, ".message.user .count"), ["2/2"]);

    await page.click(".message.assistant [aria-label='Answer again']");
    await page.waitForSelector(".message.assistant .branches:has-text('2/2')");
    await page.waitForSelector(ended);
    assert.match((await texts(page, ".outcome"))[0]!, /12 tokens .* prompt \d+ in/);

    await page.click(".message.user [aria-label='Branch before']");
    await page.waitForSelector(".message.user:has-text('And the king said unto')");
    await page.click(".message.user [aria-label='Branch after']");
    await page.waitForSelector(".message.user:has-text('In the beginning')");
    await page.click(".message.assistant [aria-label='Branch before']");
    await page.waitForSelector(".message.assistant .branches:has-text('1/2')");

    const stored = await api<Conversation>(served.url, "GET", `/ui/conversations/${id}`);
    assert.deepEqual(
      stored.messages.map(({ role, parent }) => [role, parent === null]),
      [
        ["user", true],
        ["assistant", false],
        ["user", true],
        ["assistant", false],
        ["assistant", false],
      ],
    );
    assert.equal(stored.leaf, stored.messages[3]!.id);
    assert.equal(stored.title, "And the king said unto");
    assert.deepEqual(faults, []);
    await page.context().close();
  });

  it("a reload during an answer loses nothing; Escape stops it", async () => {
    const { id } = await begin(slow.url, 400);
    const { page, faults } = await openPage(browser, `${slow.url}/#/c/${id}`);
    await say(page, "And it came to pass");
    const words = () => page.locator(".message.assistant .block").first().textContent({ timeout: 60_000 });
    const longerThan = (length: number) => async () => ((await words()) ?? "").length > length;
    await until(longerThan(20));
    const early = (await words())!;
    await page.reload();
    await until(longerThan(early.length + 10));
    const later = (await words())!;
    const spaced = (text: string) => text.replaceAll(/\s+/g, " ").trim(); // a line may be broken once more is known
    assert.ok(
      spaced(later).startsWith(spaced(early)),
      `${JSON.stringify(later)} goes on from ${JSON.stringify(early)}`,
    );
    assert.equal(await page.locator(".message.assistant").getAttribute("data-state"), "running");
    await until(async () => /tokens/.test((await texts(page, ".progress-line"))[0] ?? ""));

    await page.keyboard.press("Escape");
    await page.waitForSelector(".message.assistant[data-state=stopped]");
    const { messages } = await api<Conversation>(slow.url, "GET", `/ui/conversations/${id}`);
    assert.ok(spaced(messages[1]!.content).length >= spaced(later).length);
    assert.equal(messages[1]!.state, "stopped");
    assert.deepEqual(faults, []);
    await page.context().close();
  });

  it("an answer goes on while another conversation is open, and two pages see the same", async () => {
    const { id } = await begin(slow.url, 400);
    const first = await openPage(browser, `${slow.url}/#/c/${id}`);
    const second = await openPage(browser, `${slow.url}/#/c/${id}`);
    const answer = ({ page }: Opened) => page.locator(".message.assistant .prose").textContent();
    await say(first.page, "The LORD said");
    await first.page.waitForSelector(".message.assistant .prose");
    const early = (await answer(first))!;
    await showSide(first.page);
    await first.page.click(".new");
    await first.page.waitForSelector(".welcome");
    // On a narrow page the list closes behind what was chosen.
    await first.page.waitForSelector(".app[data-side=closed]");
    await showSide(first.page);
    await first.page.waitForSelector(`.row:has(a[href='#/c/${id}']) .state-dot.running`);
    await until(async () => (await answer(second))!.length > early.length + 10);
    await first.page.click(`.row a[href='#/c/${id}']`);
    await first.page.waitForSelector(".message.assistant .prose");
    assert.ok((await answer(first))!.length > early.length);
    await second.page.keyboard.press("Escape");
    for (const { page } of [first, second]) await page.waitForSelector(".message.assistant[data-state=stopped]");
    assert.equal(await answer(first), await answer(second));
    assert.deepEqual([...first.faults, ...second.faults], []);
    await first.page.context().close();
    await second.page.context().close();
  });

  it("search, rename, export, delete and import, by keyboard where there is one", async () => {
    const { page, faults } = await openPage(browser, served.url);
    await api(served.url, "POST", "/ui/conversations", { title: "About whales" });
    await page.keyboard.press("Control+k");
    await page.keyboard.type("whale");
    await until(async () => (await page.locator(".row").count()) === 1);
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("F2");
    await page.keyboard.type("About great whales");
    await page.keyboard.press("Enter");
    await page.waitForSelector(".row-title:text-is('About great whales')");

    await page.hover(".row");
    const download = page.waitForEvent("download");
    await page.click(".row-more");
    await page.click(".menu :text('Export')");
    const file = await download;
    assert.equal(file.suggestedFilename(), "About-great-whales.json");
    const exported = readFileSync(await file.path());
    assert.equal((JSON.parse(exported.toString()) as Conversation).title, "About great whales");

    await page.press(".row a", "Delete");
    await page.click(".notice:has-text('Deleted') :text-is('Undo')");
    await page.waitForSelector(".row[data-current=true] :text('About great whales')", { state: "attached" });
    await showSide(page);
    await page.press(".row a", "Delete");
    await until(async () => (await page.locator(".row").count()) === 0);
    await page.setInputFiles(".side input[type=file]", {
      name: "c.json",
      mimeType: "application/json",
      buffer: exported,
    });
    await page.waitForSelector(".row[data-current=true] :text('About great whales')", { state: "attached" });
    assert.deepEqual(faults, []);
    for (const [name, text] of [
      ["cut.json", exported.subarray(0, 60)],
      ["empty.json", ""],
      ["other.json", "[]"],
    ] as const) {
      const buffer = Buffer.from(text);
      await page.setInputFiles(".side input[type=file]", { name, mimeType: "application/json", buffer });
      await page.waitForSelector(`.notice.error:has-text('${name} was not imported: ')`);
    }
    assert.equal(await page.locator(".row").count(), 1);
    await page.context().close();
  });

  it("system prompt and sampler belong to the conversation", async () => {
    const { id } = await begin(served.url, 4);
    const { page, faults } = await openPage(browser, `${served.url}/#/c/${id}`);
    await page.click("[aria-label='System prompt and sampler']");
    assert.equal(await page.inputValue("#field-maxTokens"), "4");
    assert.equal(await page.getAttribute("#field-topK", "placeholder"), "40");
    await page.fill(".panel textarea", "Genesis");
    await page.fill("#field-maxTokens", "6");
    await page.press("#field-maxTokens", "Enter");
    await page.fill("#field-topP", "2"); // not a probability
    await page.press("#field-topP", "Tab");
    await say(page, "In the beginning");
    await page.waitForSelector(".outcome:has-text('6 tokens')");
    const { system, sampling } = await api<Conversation>(served.url, "GET", `/ui/conversations/${id}`);
    assert.equal(system, "Genesis");
    assert.deepEqual(sampling, { seed: 7, temperature: 0.5, maxTokens: 6 });
    assert.deepEqual(faults, []);
    await page.context().close();
  });
});

describe("the page of a server with a key", { skip: skipPage }, () => {
  it("opens for who has it, and everything on it works", async () => {
    const key = "a-key-of-a-test";
    const [browser, served] = await launchBeside(serve({ config: { apiKeys: [key] } }));
    try {
      for (const path of ["/", "/ui/conversations", "/ui/machine/events", "/theme.js"])
        assert.equal((await fetch(served.url + path)).status, 401, path);
      const { page, faults } = await openPage(browser, served.url, {
        httpCredentials: { username: "me", password: key },
      });
      await page.click("[aria-label='System prompt and sampler']");
      await page.fill("#field-maxTokens", "5");
      await page.press("#field-maxTokens", "Enter");
      await say(page, "In the beginning");
      await page.waitForSelector(".outcome:has-text('5 tokens')");
      await showSide(page);
      await page.click(".views a:has-text('Machine')");
      await page.waitForSelector(".chart canvas");
      assert.deepEqual(faults, []);
    } finally {
      await browser.close();
      await served.stop();
    }
  });
});
