/**
 * The other half of being slow, in Chromium: an answer goes on where it was cut, what is written meanwhile waits on the
 * server, branches that nobody sees are named, and a full context is no dead end.
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { Browser } from "playwright-core";
import type { Conversation, ConversationSampling, Message } from "../../src/server/ui/wire.js";
import { violations } from "../support/axe.js";
import { importTurns } from "../support/conversation.js";
import {
  api,
  composer,
  launchBeside,
  openPage,
  type Served,
  say,
  serve,
  showSide,
  skipPage,
  until,
} from "../support/page.js";

const sampling: ConversationSampling = { seed: 7, temperature: 0.9 };

const begin = (url: string, more: ConversationSampling) =>
  api<Conversation>(url, "POST", "/ui/conversations", { sampling: { ...sampling, ...more } });
const read = (url: string, id: string) => api<Conversation>(url, "GET", `/ui/conversations/${id}`);
const ended = async (url: string, id: string, at = 1): Promise<Message> => {
  await until(async () => ((await read(url, id)).messages[at]?.state ?? "running") !== "running");
  return (await read(url, id)).messages[at]!;
};

describe("waiting for a slow model", { skip: skipPage }, () => {
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

  it("an answer that was stopped goes on in the same message, as if it had never been", async () => {
    const whole = await begin(slow.url, { maxTokens: 32 });
    await api(slow.url, "POST", `/ui/conversations/${whole.id}/messages`, { parent: null, content: "And it came" });
    const { content } = await ended(slow.url, whole.id);

    const { id } = await begin(slow.url, { maxTokens: 32 });
    const { page, faults } = await openPage(browser, `${slow.url}/#/c/${id}`);
    await say(page, "And it came");
    await until(async () => ((await read(slow.url, id)).messages[1]?.content.length ?? 0) > 10);
    await page.keyboard.press("Escape");
    await page.waitForSelector(".message.assistant[data-state=stopped]");
    const cut = (await read(slow.url, id)).messages[1]!;
    assert.ok(cut.stats!.generatedTokens < 32);
    assert.ok(content.startsWith(cut.content.slice(0, 10)));
    await page.click(".message.assistant :text-is('Continue')");
    await page.waitForSelector(".outcome:has-text('32 tokens')");
    assert.match(
      (await page.locator(".outcome").textContent())!,
      /stopped at your longest answer, 32 tokens · .* s · /,
    );
    const after = (await read(slow.url, id)).messages;
    assert.equal(after.length, 2);
    assert.equal(after[1]!.content, content);
    assert.deepEqual(faults, []);
    await page.context().close();
  });

  it("Enter while an answer runs makes the next message, which is sent with the page closed", async () => {
    // So hot that it does not end by itself before there was time to write.
    const endless = { temperature: 5, topK: 0, topP: 1, minP: 0, maxTokens: 100 };
    const { id } = await begin(slow.url, endless);
    const { page, faults } = await openPage(browser, `${slow.url}/#/c/${id}`);
    await say(page, "And it came");
    await page.waitForSelector(".message.assistant[data-state=running]");
    // The answer that runs is a long one, the next one short.
    await api(slow.url, "PATCH", `/ui/conversations/${id}`, { sampling: { ...sampling, maxTokens: 5 } });
    for (const words of ["not this", "to pass"]) {
      await say(page, words);
      await page.waitForSelector(`.next li:has-text('${words}')`);
    }
    await page.click(".next li:has-text('not this') :text-is('Drop')");
    await until(async () => (await page.locator(".next li").count()) === 1);
    await page.click(".next :text-is('Edit')");
    await page.fill(".next textarea", "unto them");
    await page.click(".next :text-is('Save')");
    await page.waitForSelector(".next:has-text('unto them')");
    const machine = await openPage(browser, `${slow.url}/#/machine`);
    await machine.page.waitForSelector(".queue li:has-text('next: unto them')");
    assert.equal(await machine.page.locator(".queue li").count(), 2);
    assert.deepEqual([...faults, ...machine.faults], []);
    await page.context().close();
    await machine.page.context().close();
    await ended(slow.url, id, 3);
    const { messages, next } = await read(slow.url, id);
    assert.deepEqual(
      messages.map(({ content, role }) => (role === "user" ? content : role)),
      ["And it came", "assistant", "unto them", "assistant"],
    );
    assert.equal(messages[2]!.parent, messages[1]!.id);
    assert.deepEqual(next, []);
  });

  it("Enter while a message is on its way makes the next one, also of a conversation that is being made", async () => {
    const { page, faults } = await openPage(browser, slow.url);
    await page.route("**/ui/conversations/*/messages", async (route) => {
      await new Promise((resolve) => setTimeout(resolve, 300));
      await route.continue();
    });
    await say(page, "first of all");
    await say(page, "second");
    await page.fill(composer, "third");
    await page.waitForSelector(".next li:has-text('second')");
    assert.equal(await page.inputValue(composer), "third");
    await page.press(composer, "Enter");
    await page.waitForSelector(".next li:has-text('third')");
    const id = /#\/c\/(\w+)/.exec(page.url())![1]!;
    const { messages, next } = await read(slow.url, id);
    assert.deepEqual(
      [messages[0]!.content, ...next!.map(({ content }) => content)],
      ["first of all", "second", "third"],
    );
    assert.deepEqual(await violations(page), []);
    assert.deepEqual(faults, []);
    await page.context().close();
    await api(slow.url, "DELETE", `/ui/conversations/${id}`);
  });

  it("editing while an answer runs asks, and an answer that nobody sees is named", async () => {
    const { id } = await begin(slow.url, { maxTokens: 400 });
    const { page, faults } = await openPage(browser, `${slow.url}/#/c/${id}`);
    const edit = async (text: string, how: string) => {
      await page.hover(".message.user");
      await page.click(".message.user .edit");
      await page.fill(".editor textarea", text);
      await page.waitForSelector(".editor:has-text('The answer above is still being written.')");
      await page.click(`.editor :text-is('${how}')`);
      await page.waitForSelector(`.message.user:has-text('${text}')`);
      await page.waitForSelector(".message.assistant[data-state=running]");
    };
    const states = async () =>
      (await read(slow.url, id)).messages.filter(({ role }) => role === "assistant").map(({ state }) => state);
    await say(page, "one");
    await page.waitForSelector(".message.assistant[data-state=running]");
    await edit("two", "Let both run");
    await page.waitForSelector(".lines:has-text('Another branch is still being written')");
    assert.deepEqual(await states(), ["running", "running"]);
    await page.click(".lines :text-is('Show')");
    await page.waitForSelector(".message.user:has-text('one')");
    await page.click(".lines :text-is('Stop')");
    await page.waitForSelector(".lines:has-text('Another branch')", { state: "detached" });
    assert.deepEqual(await states(), ["running", "stopped"]);
    await edit("three", "Stop it and send");
    assert.deepEqual(await states(), ["stopped", "stopped", "running"]);
    await page.keyboard.press("Escape");
    await page.waitForSelector(".message.assistant[data-state=stopped]");
    assert.deepEqual(faults, []);
    await page.context().close();
  });

  it("the context is told from the first answer on; full, it is said so, with two ways out", async () => {
    const { id } = await begin(slow.url, { maxTokens: 400 });
    const { page, faults } = await openPage(browser, `${slow.url}/#/c/${id}`);
    await say(page, "And it came");
    await page.waitForSelector(".message.assistant[data-state=running]");
    await page.waitForSelector(".context-use");
    await until(async () => /^\d+ tokens? · /.test(await page.title()));
    await page.keyboard.press("Escape");
    await page.waitForSelector(".message.assistant[data-state=stopped]");
    assert.equal(await page.title(), "And it came");

    const stats = { cachedTokens: 0, prefillMs: 1, decodeMs: 1 };
    const full = await importTurns(slow.url, "Full", [
      ["old question", "old answer", { stats: { ...stats, promptTokens: 40, generatedTokens: 260 } }],
      [
        "new question",
        "new answer",
        {
          stats: { ...stats, promptTokens: 320, generatedTokens: 192, drafts: { lookup: { tried: 1500, right: 120 } } },
          state: "length",
          cut: "context",
        },
      ],
    ]);
    await page.goto(`${slow.url}/#/c/${full}`);
    await page.waitForSelector(".outcome:has-text('stopped: the context is full')");
    await page.waitForSelector(".outcome:has-text('120 of 1,500 guesses right from the text')");
    await page.waitForSelector(".lines:has-text('No token is left of 512.')");
    assert.equal(await page.locator(":text-is('Continue')").count(), 0);
    await page.click(":text-is('Leave out the oldest messages')");
    await page.waitForSelector(".seen-from + .message.user:has-text('new question')");
    await until(async () =>
      /^212 of 512/.test((await page.getAttribute(".context-use meter", "aria-valuetext")) ?? ""),
    );
    await page.click(":text-is('See all again')");
    await page.waitForSelector(".seen-from", { state: "detached" });
    await page.click(":text-is('Go on in a new conversation')");
    await until(async () => (await page.locator(".message").count()) === 2);
    assert.ok(!page.url().includes(full));
    assert.deepEqual(await page.locator(".user-words").allInnerTexts(), ["new question"]);
    assert.deepEqual(faults, []);
    await page.context().close();
  });

  it("a long draft has a price, amber when it does not fit", async () => {
    const { page, faults } = await openPage(browser, served.url);
    await page.waitForSelector(".state-dot.ready", { state: "attached" });
    await page.fill(composer, "short");
    assert.equal(await page.locator(".price").count(), 0);
    await page.fill(composer, "And it came to pass. ".repeat(40));
    await page.waitForSelector(".price[data-fits=true]");
    assert.match(
      (await page.textContent(".price"))!,
      /^about \d+ tokens · (about .* to read · )?\d+ % of the context$/,
    );
    await page.fill(composer, "And it came to pass. ".repeat(4000));
    await page.waitForSelector(".price[data-fits=false]:has-text('does not fit the context of')");
    assert.deepEqual(faults, []);
    await page.context().close();
  });

  it("titles are renamed where they stand, also of a conversation that is not open", async () => {
    const { id } = await api<Conversation>(served.url, "POST", "/ui/conversations", { title: "Before" });
    const { page, faults } = await openPage(browser, served.url);
    if (await page.locator(".side").isVisible()) await page.dblclick(`.row a[href='#/c/${id}']`);
    else {
      // Where the side goes with the first click there is the menu.
      await showSide(page);
      await page.hover(`.row:has(a[href='#/c/${id}'])`);
      await page.click(`.row:has(a[href='#/c/${id}']) .row-more`);
      await page.click(".menu :text('Rename')");
    }
    await page.waitForSelector(".row.renaming input");
    await new Promise((resolve) => setTimeout(resolve, 300));
    await page.keyboard.type("Between");
    await page.keyboard.press("Enter");
    await page.waitForSelector(".row-title:text-is('Between')");
    await page.goto(`${served.url}/#/c/${id}`);
    await page.click(".bar-title button");
    await page.keyboard.type("After");
    await page.keyboard.press("Enter");
    await page.waitForSelector(".row-title:text-is('After')", { state: "attached" });
    assert.equal((await read(served.url, id)).title, "After");
    assert.deepEqual(faults, []);
    await page.context().close();
  });

  it("a poem keeps its lines", async () => {
    const id = await importTurns(served.url, "Poem", [
      ["A poem", "Roses are red,\nviolets are blue,\nsugar is sweet."],
    ]);
    const { page } = await openPage(browser, `${served.url}/#/c/${id}`);
    await page.waitForSelector(".block br", { state: "attached" });
    assert.equal(await page.locator(".block br").count(), 2);
    await page.context().close();
  });
});
