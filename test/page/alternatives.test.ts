/** Words that a model might have said: asked for by hand, the same after a reload, in both themes and widths. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Locator, Page } from "playwright-core";
import type { ChosenToken, Conversation, Message, SentMessage } from "../../src/server/ui/wire.js";
import { violations } from "../support/axe.js";
import { importTurns } from "../support/conversation.js";
import { api, inBrowser, openPage, skipPage, until } from "../support/page.js";

const prompt = "Once upon a time";

describe("words and alternatives", { skip: skipPage }, () => {
  const there = inBrowser();

  /** @returns a conversation with one answer that has ended */
  async function answered(sampling: Conversation["sampling"]): Promise<{ id: string; answer: Message }> {
    const { url } = there.served;
    const { id } = await api<Conversation>(url, "POST", "/ui/conversations", { sampling });
    const sent = await api<SentMessage>(url, "POST", `/ui/conversations/${id}/messages`, {
      parent: null,
      content: prompt,
    });
    let answer: Message | undefined;
    await until(async () => {
      const { messages } = await api<Conversation>(url, "GET", `/ui/conversations/${id}`);
      answer = messages.find((message) => message.id === sent.answer);
      return answer?.state !== "running";
    });
    return { id, answer: answer! };
  }

  const alternatives = (id: string, message: string): Promise<ChosenToken[]> =>
    api(there.served.url, "POST", `/ui/conversations/${id}/alternatives`, { message });

  it("are the log-probabilities that the same answer has elsewhere, to the bit", async () => {
    const { id, answer } = await answered({ temperature: 0, maxTokens: 24 });
    const tokens = await alternatives(id, answer.id);
    const body = { prompt, temperature: 0, max_tokens: 24, logprobs: 5 };
    const told = await api<{
      choices: { logprobs: { token_logprobs: number[]; top_logprobs: Record<string, number>[] } }[];
    }>(there.served.url, "POST", "/v1/completions", body);
    const { token_logprobs: expected, top_logprobs: top } = told.choices[0]!.logprobs;
    assert.deepEqual(
      tokens.map(({ probability }) => probability),
      expected.map(Math.exp),
    );
    for (const [i, { likeliest }] of tokens.entries())
      assert.deepEqual(
        likeliest.map(({ probability }) => probability),
        Object.values(top[i]!).map(Math.exp),
      );
  });

  it("are known of an answer that ended by itself, and not of one that was made elsewhere", async () => {
    const { url } = there.served;
    let ended = await answered({ seed: 1 });
    for (let seed = 2; ended.answer.state !== "stop" && seed < 12; seed++) ended = await answered({ seed });
    assert.equal(ended.answer.state, "stop");
    const tokens = await alternatives(ended.id, ended.answer.id);
    assert.equal(tokens.map(({ text }) => text).join(""), ended.answer.content);
    // Files hold tokens, pages are not sent any.
    const shown = await api<Conversation>(url, "GET", `/ui/conversations/${ended.id}`);
    assert.ok(!("tokens" in shown.messages.at(-1)!));
    const foreign = await importTurns(url, "elsewhere", [["Hello?", "Hello."]]);
    const { messages } = await api<Conversation>(url, "GET", `/ui/conversations/${foreign}`);
    await assert.rejects(alternatives(foreign, messages[1]!.id), /400 .*the tokens of this answer are not known/);
    await assert.rejects(alternatives(foreign, messages[0]!.id), /404 /);
  });

  async function show(page: Page): Promise<Locator> {
    await page.click(".message.assistant [aria-label='Other answers']");
    await page.click(".menu :text('Words and alternatives')");
    const list = page.locator(".tokens");
    await list.waitFor();
    return list;
  }

  for (const [colorScheme, width] of [
    ["light", 1100],
    ["dark", 390],
  ] as const)
    it(`are pressed and walked through, ${colorScheme}, ${width} px, also after a reload`, async () => {
      const { id, answer } = await answered({ seed: 3, maxTokens: 40 });
      const viewport = { width, height: 800 };
      const { page, faults } = await openPage(browser(), `${there.served.url}/#/c/${id}`, { colorScheme, viewport });
      await page.waitForSelector(".message.assistant .block");
      const list = await show(page);
      assert.equal(await list.textContent(), answer.content);
      const chosen = (): Promise<string | null> => page.locator("[role=option][aria-selected=true]").getAttribute("id");
      // It has the focus: keys work at once.
      await page.keyboard.press("ArrowRight");
      await page.keyboard.press("ArrowRight");
      assert.equal(await chosen(), "token-2");
      await page.keyboard.press("End");
      assert.equal(await chosen(), "token-39");
      await page.click("#token-5");
      assert.equal(await chosen(), "token-5");
      const rows = page.locator(".likeliest li");
      assert.ok((await rows.count()) >= 5);
      assert.equal(await page.locator(".likeliest [data-chosen=true]").count(), 1);
      assert.match((await rows.first().textContent())!, /^\S+ [\d.]+ %/);
      assert.deepEqual(await violations(page), []);
      if (process.env.HUNDREDWEIGHT_PICTURES !== undefined)
        await page.screenshot({ path: `${process.env.HUNDREDWEIGHT_PICTURES}/alternatives-${width}.png` });
      const wide = await page.evaluate("document.documentElement.scrollWidth - innerWidth");
      assert.ok(Number(wide) <= 0, `${wide} px too wide`);
      await page.focus(".tokens");
      await page.keyboard.press("Escape");
      await page.waitForSelector(".message.assistant .block");
      await page.reload();
      await page.waitForSelector(".message.assistant .block");
      assert.equal(await (await show(page)).textContent(), answer.content);
      assert.deepEqual(faults, []);
      await page.context().close();
    });

  const browser = () => there.browser;
});
