/**
 * Lines of text that the page has where a model is slow or a context short, in Chromium: prices, what is left, what
 * would help, and how far an answer is.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { AnswerProgress, Conversation } from "../../src/server/ui/wire.js";
import { shortProgress } from "../../web/src/done/progress-words.js";
import { chatModel } from "../server/chat-model.js";
import { importTurns, type Turn } from "../support/conversation.js";
import { api, composer, inBrowser, openPage, say, serve, showSide, skipPage, until } from "../support/page.js";

/** So hot that it does not end by itself before there was time to look. */
const endless = { temperature: 5, topK: 0, topP: 1, minP: 0, maxTokens: 400 };

describe("lines of a slow model", { skip: skipPage }, () => {
  const here = inBrowser(async () => serve({ slow: true, modelPath: await chatModel() }));
  const begin = (sampling: object) =>
    api<Conversation>(here.served.url, "POST", "/ui/conversations", { sampling: { seed: 7, ...sampling } });

  it("starters stand below the model's name, and one of them becomes the draft", async () => {
    const { page, faults } = await openPage(here.browser, here.served.url);
    await page.click(".starters button >> nth=1");
    assert.equal(await page.inputValue(composer), "Plan a week of simple dinners");
    assert.deepEqual(faults, []);
    await page.context().close();
  });

  it("from 80 % of the context on it is said how much is left; below it is not", async () => {
    const stats = { cachedTokens: 0, prefillMs: 1, decodeMs: 1, generatedTokens: 24 };
    const turns = (promptTokens: number): Turn[] => [
      ["old", "words", { stats: { ...stats, promptTokens: 90 } }],
      ["new", "words", { stats: { ...stats, promptTokens } }],
    ];
    const [roomy, short] = [
      await importTurns(here.served.url, "Roomy", turns(300)),
      await importTurns(here.served.url, "Short", turns(418)),
    ];
    const { page, faults } = await openPage(here.browser, `${here.served.url}/#/c/${roomy}`);
    await page.waitForSelector(".context-use");
    assert.equal(await page.locator(".line.warn").count(), 0);
    await page.goto(`${here.served.url}/#/c/${short}`);
    await page.waitForSelector(".line.warn:has-text('About 70 tokens are left of 512.')");
    assert.deepEqual(await page.locator(".line.warn button").allInnerTexts(), [
      "Leave out the oldest messages",
      "Go on in a new conversation",
    ]);
    assert.deepEqual(faults, []);
    await page.context().close();
  });

  it("an answer says how many tokens it has, how fast, since when, and what is left at most", async () => {
    const { id } = await begin(endless);
    const { page, faults } = await openPage(here.browser, `${here.served.url}/#/c/${id}`);
    await say(page, "And it came to pass");
    const line = async () => (await page.locator(".progress-line").textContent({ timeout: 5000 })) ?? "";
    const whole = /^\d+ tokens · [\d.,]+ tokens\/s · .*\d.* · about (a second|\d+ (s|min)) left at most/;
    await until(async () => whole.test(await line()));
    await page.keyboard.press("Escape");
    await page.waitForSelector(".message.assistant[data-state=stopped]");
    assert.equal(await page.locator(".composer .stop").count(), 0);
    assert.deepEqual(faults, []);
    await page.context().close();
  });

  it("a change of the system prompt names its price before it is made", async () => {
    // The answer before has measured what passes cost: of the plain implementation there is no plan.
    const stats = { promptTokens: 300, cachedTokens: 0, generatedTokens: 20, prefillMs: 1, decodeMs: 1 };
    const id = await importTurns(here.served.url, "Priced", [["a", "b", { stats }]]);
    const { page, faults } = await openPage(here.browser, `${here.served.url}/#/c/${id}`);
    await page.waitForSelector(".message .block");
    await page.click("[aria-label='System prompt and sampler']");
    const warning = page.locator(".panel .warn-text");
    assert.equal(await warning.count(), 0);
    await page.fill(".panel textarea >> nth=0", "Be brief.");
    await warning.waitFor();
    assert.match(
      (await warning.textContent())!,
      /^A change makes the model read the conversation again: about (a second|\d+ (s|min|h).*)\.$/,
    );
    assert.deepEqual(faults, []);
    await page.context().close();
  });

  it("far from the end of an answer that grows, the way back says that there are new words", async () => {
    const id = await importTurns(here.served.url, "Long", [["Say", "- a\n".repeat(45)]]);
    await api(here.served.url, "PATCH", `/ui/conversations/${id}`, { sampling: { seed: 7, ...endless } });
    const { page, faults } = await openPage(here.browser, `${here.served.url}/#/c/${id}`);
    await page.waitForSelector(".message .block");
    await say(page, "And");
    await page.waitForSelector(".message.assistant[data-state=running] .prose");
    await page.evaluate("document.querySelector('.messages').scrollTop = 0");
    await page.waitForSelector(".to-end:has-text('New words')");
    await page.keyboard.press("Escape");
    await page.waitForSelector(".message.assistant[data-state=stopped]", { state: "attached" });
    assert.deepEqual(faults, []);
    await page.context().close();
  });

  it("an answer that repeats itself is named, with a way to stop it", async () => {
    // Nothing but the likeliest token, however often it came.
    const { id } = await begin({ temperature: 0, maxTokens: 400, repeatPenalty: 1 });
    const { page, faults } = await openPage(here.browser, `${here.served.url}/#/c/${id}`);
    await say(page, "la la la la la la la la la la la la la la la la la la la la la la la la");
    await page.click(".line.warn:has-text('The answer repeats itself.') :text-is('Stop')");
    await page.waitForSelector(".message.assistant[data-state=stopped]");
    await page.waitForSelector(".line.warn:has-text('repeats itself')", { state: "detached" });
    assert.deepEqual(faults, []);
    await page.context().close();
  });

  it("what is printed is the conversation alone", async () => {
    await importTurns(here.served.url, "On paper", [["Ask", "**Say**"]]);
    const { page, faults } = await openPage(here.browser, here.served.url);
    await page.evaluate(`window.print = () => {
      window.printed = [document.body.dataset.printing, document.querySelector(".sheet").innerText];
    }`);
    await showSide(page);
    await page.hover(".row:has-text('On paper')");
    await page.click(".row:has-text('On paper') .row-more");
    await page.click(".menu :text('Print')");
    await until(async () => (await page.evaluate("window.printed !== undefined")) === true);
    const [printing, words] = (await page.evaluate("window.printed")) as [string, string];
    assert.equal(printing, "true");
    assert.match(words, /On paper[\s\S]*Ask[\s\S]*Say/);
    assert.doesNotMatch(words, /\*\*|Search conversations/);
    assert.deepEqual(faults, []);
    await page.context().close();
  });
});

it("the title of a tab has the share of a prompt that was read, then tokens", () => {
  const prompt = { phase: "prompt", done: 228, total: 400 } as AnswerProgress;
  assert.equal(shortProgress(prompt), "57 %");
  assert.equal(shortProgress({ phase: "answer", tokens: 214 } as AnswerProgress), "214 tokens");
  assert.equal(shortProgress({ phase: "queued", ahead: 2 } as AnswerProgress), "2 ahead");
});
