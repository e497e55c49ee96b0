/**
 * Conveniences of the page in Chromium: other answers side by side, where a search lands, pins and folders, what other
 * programs export, settings one can feel, and a change of the model that waits.
 */
import assert from "node:assert/strict";
import { copyFileSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import type { Conversation, Sample } from "../../src/server/ui/wire.js";
import { readForeign } from "../../web/src/chat/import-forms.js";
import { repeatsItself } from "../../web/src/chat/repeats.js";
import { tokenCostOf } from "../../web/src/machine/series.js";
import { importTurns, type Turn } from "../support/conversation.js";
import { api, demoModel, inBrowser, openPage, say, serve, showSide, skipPage, until } from "../support/page.js";

describe("conveniences of the page", { skip: skipPage }, () => {
  const folder = mkdtempSync(join(tmpdir(), "hundredweight-conveniences-"));
  const here = inBrowser(() => {
    copyFileSync(demoModel, join(folder, "demo.gguf"));
    copyFileSync(demoModel, join(folder, "second.gguf"));
    const modelPath = join(folder, "demo.gguf");
    return serve({ slow: true, modelPath, config: { modelsFolder: folder } });
  });
  after(() => rmSync(folder, { recursive: true, force: true }));
  const read = (id: string) => api<Conversation>(here.served.url, "GET", `/ui/conversations/${id}`);

  it("a colder answer stands beside the first one, each with what it was made by", async () => {
    const sampling = { seed: 7, maxTokens: 4 };
    const { id } = await api<Conversation>(here.served.url, "POST", "/ui/conversations", { sampling });
    const { page, faults } = await openPage(here.browser, `${here.served.url}/#/c/${id}`);
    await say(page, "And");
    await page.waitForSelector(".outcome:has-text('4 tokens')");
    await page.click("[aria-label='Other answers']");
    await page.click(".menu :text('Colder (0.4)')");
    await page.waitForSelector(".message.assistant .branches:has-text('2/2')");
    await page.waitForSelector(".outcome:has-text('4 tokens')");
    await page.click("[aria-label='Other answers']");
    await page.click(".menu :text('Side by side')");
    await page.waitForSelector(".column >> nth=1");
    const [first, second] = await page.locator(".column > .faint").allInnerTexts();
    assert.match(first!, /^demo · seed 7 · .* tokens\/s$/);
    assert.match(second!, /^demo · temperature 0\.4 · seed 7 · .* tokens\/s$/);
    await page.click(".column >> nth=0 >> text=Take this one");
    await page.waitForSelector(".message.assistant .branches:has-text('1/2')");
    assert.equal((await read(id)).leaf, (await read(id)).messages[1]!.id);
    assert.deepEqual(faults, []);
    await page.context().close();
  });

  it("a search opens the conversation at the words, marked; far from the end there is a way back", async () => {
    const turns: Turn[] = Array.from({ length: 40 }, (_, i) => [`Question ${i}`, `Answer ${i}\n\n- a\n- b\n- c`]);
    turns[3] = ["Question 3", "Here is the walrus."];
    const id = await importTurns(here.served.url, "Animals", turns);
    const { page, faults } = await openPage(here.browser, here.served.url);
    await showSide(page);
    await page.fill("[aria-label='Search conversations']", "walrus");
    await page.click(`.row a[href='#/c/${id}']`);
    await until(async () => Boolean(await page.evaluate("CSS.highlights.get('found')?.size === 1")));
    const visible = async (text: string) => {
      const box = await page.locator(`.message:has-text('${text}')`).last().boundingBox();
      return box !== null && box.y > 0 && box.y + box.height < 720;
    };
    await until(() => visible("walrus"));
    await page.click(".to-end");
    await until(() => visible("Answer 39"));
    await page.waitForSelector(".to-end", { state: "detached" });
    assert.deepEqual(faults, []);
    await page.context().close();
  });

  it("pins and folders are kept by the server; Markdown is exported", async () => {
    const id = await importTurns(here.served.url, "To keep", [["Ask", "<think>\nhm\n</think>\n**Say**"]]);
    const { page, faults } = await openPage(here.browser, here.served.url);
    const menu = async (name: string) => {
      await showSide(page);
      await page.hover(".row:has-text('To keep')");
      await page.click(".row:has-text('To keep') .row-more");
      await page.click(`.menu :text('${name}')`);
    };
    const group = (name: string) => page.waitForSelector(`.rows section[aria-label='${name}'] :text('To keep')`);
    await menu("Folder");
    await page.keyboard.type("Work");
    await page.keyboard.press("Enter");
    await group("Work");
    await menu("Pin");
    await group("Pinned");
    const { pinned, folder: kept } = await read(id);
    assert.deepEqual([pinned, kept], [true, "Work"]);
    const download = page.waitForEvent("download");
    await menu("As Markdown");
    const file = await download;
    assert.equal(file.suggestedFilename(), "To-keep.md");
    assert.equal(readFileSync(await file.path(), "utf8"), "# To keep\n\n## You\n\nAsk\n\n## Answer\n\n**Say**\n");
    assert.deepEqual(faults, []);
    await page.context().close();
  });

  it("sliders, presets and saved prompts change settings, and changed ones are marked", async () => {
    const { id } = await api<Conversation>(here.served.url, "POST", "/ui/conversations", { sampling: { seed: 3 } });
    const { page, faults } = await openPage(here.browser, `${here.served.url}/#/c/${id}`);
    await page.click("[aria-label='System prompt and sampler']");
    await page.focus("[aria-label='Temperature, slider']");
    await page.keyboard.press("ArrowRight");
    await page.waitForSelector(".field[data-changed=true]:has-text('Temperature')");
    await until(async () => (await read(id)).sampling.temperature === 0.85);
    await page.click('[aria-label="Temperature: back to the model\'s own"]');
    await until(async () => (await read(id)).sampling.temperature === undefined);
    await page.selectOption("#field-preset", "careful");
    await until(async () => (await read(id)).sampling.topP === 0.9);
    assert.deepEqual((await read(id)).sampling, { seed: 3, temperature: 0.3, topP: 0.9 });
    await page.fill(".panel textarea >> nth=0", "Be brief.");
    await page.click(".panel :text-is('Save it')");
    await page.fill(".panel textarea >> nth=0", "");
    await page.selectOption("[aria-label='Saved prompts']", "Be brief.");
    await until(async () => (await read(id)).system === "Be brief.");
    assert.deepEqual(faults, []);
    await page.context().close();
  });

  it("a change of the model waits until the answer is done, and can be taken back", async () => {
    const sampling = { seed: 7, maxTokens: 400 };
    const { id } = await api<Conversation>(here.served.url, "POST", "/ui/conversations", { sampling });
    await api(here.served.url, "POST", `/ui/conversations/${id}/messages`, { parent: null, content: "And" });
    const { page, faults } = await openPage(here.browser, `${here.served.url}/#/models`);
    await page.click(".model-item:has-text('second.gguf') .model-head");
    await page.click("text=Use this model");
    await page.click("dialog :text-is('Change when it is done')");
    await page.waitForSelector(".line:has-text('second is loaded when the answers that run have ended')");
    await page.click(".models-body > .line :text-is('Cancel')");
    await page.waitForSelector(".models-body > .line", { state: "detached" });
    await page.click("text=Use this model");
    await page.click("dialog :text-is('Change when it is done')");
    await page.waitForSelector(".models-body > .line");
    assert.equal((await read(id)).messages[1]!.state, "running");
    await api(here.served.url, "POST", `/ui/conversations/${id}/stop`, { message: (await read(id)).leaf });
    await page.waitForSelector(".model-item[data-loaded=true]:has-text('second.gguf')");
    await until(async () => here.served.server.context.model.state.phase === "ready");
    // Another model goes on with the text.
    const cut = (await read(id)).messages[1]!;
    assert.equal(cut.state, "stopped");
    await api(here.served.url, "PATCH", `/ui/conversations/${id}`, {
      sampling: { seed: 7, maxTokens: cut.stats!.generatedTokens + 3 },
    });
    await api(here.served.url, "POST", `/ui/conversations/${id}/continue`, { message: cut.id });
    await until(async () => (await read(id)).messages[1]!.state === "length");
    const after = (await read(id)).messages[1]!;
    assert.equal(after.model, "second");
    assert.ok(after.content.startsWith(cut.content) && after.content.length > cut.content.length);
    assert.deepEqual(faults, []);
    await page.context().close();
  });
});

it("an answer that repeats itself is told from a list and a table", () => {
  assert.ok(repeatsItself(`Well. ${"and so it goes, ".repeat(12)}`));
  assert.ok(repeatsItself(`x${"ha".repeat(80)}`));
  assert.ok(!repeatsItself("short ".repeat(5)));
  assert.ok(!repeatsItself(Array.from({ length: 40 }, (_, i) => `- item ${i}\n`).join("")));
  assert.ok(
    !repeatsItself("The quick brown fox jumps over the lazy dog, and many other things happen besides. ".repeat(2)),
  );
});

it("files of ChatGPT and Open WebUI become conversations, whatever else is in them", () => {
  const node = (id: string, parent: string | null, role: string, text: string) => [
    id,
    { id, parent, message: { author: { role }, content: { content_type: "text", parts: [text] }, create_time: 1e9 } },
  ];
  const theirs = {
    title: "Theirs",
    create_time: 1e9,
    current_node: "d",
    mapping: Object.fromEntries([
      ["root", { id: "root", parent: null, message: null }],
      node("s", "root", "system", "Be kind."),
      node("a", "s", "user", "Hello"),
      node("b", "a", "assistant", "Hi"),
      node("c", "b", "tool", "42"),
      node("d", "c", "assistant", "there"),
      node("e", "a", "assistant", "Another"),
      node("f", "nowhere", "assistant", "lost"),
    ]),
  };
  const [first, none] = readForeign(JSON.stringify([theirs, 7, { mapping: null }]))!.map((file) => JSON.parse(file));
  assert.equal(none, undefined);
  assert.equal(first.system, "Be kind.");
  assert.deepEqual(
    first.messages.map(({ content }: { content: string }) => content),
    ["Hello", "Hi\n\nthere", "Another"],
  );
  assert.equal(first.leaf, first.messages[1].id);
  const webui = {
    chat: {
      title: "WebUI",
      history: {
        currentId: "2",
        messages: {
          1: { id: "1", parentId: null, role: "user", content: "Q", timestamp: 1e9 },
          2: { id: "2", parentId: "1", role: "assistant", content: "A", timestamp: 1e9, model: "m" },
        },
      },
    },
  };
  const [second] = readForeign(JSON.stringify([webui]))!.map((file) => JSON.parse(file));
  assert.equal(second.messages[1].model, "m");
  assert.equal(second.messages[1].parent, second.messages[0].id);
  assert.equal(readForeign("[]"), undefined);
  assert.equal(readForeign("no JSON"), undefined);
});

it("a token's cost is that of passes of answers, not of prompts", () => {
  const sample = (
    passes: number,
    rows: number,
    stallMs: number,
    computeMs: number,
    diskBytes: number,
    generatedTokens = passes,
    running = 1,
  ) =>
    ({
      ...{ passes, running, generatedTokens },
      seen: { passes, rows, stallMs, computeMs, diskBytes },
    }) as unknown as Sample;
  assert.equal(tokenCostOf([sample(1, 512, 5000, 5000, 1e9)]), undefined);
  const cost = tokenCostOf([sample(1, 512, 5000, 5000, 1e9), sample(2, 2, 660, 200, 2e9)]);
  assert.deepEqual(cost, { seconds: 0.43, stallSeconds: 0.33, diskBytes: 1e9 });
  // Two guesses were right: four tokens of two passes. Of two answers each waits for the whole pass.
  const guessed = { seconds: 0.215, stallSeconds: 0.165, diskBytes: 5e8 };
  assert.deepEqual(tokenCostOf([sample(2, 6, 660, 200, 2e9, 4)]), guessed);
  assert.deepEqual(tokenCostOf([sample(2, 4, 660, 200, 2e9, 4, 2)]), cost);
});
