/** The machine and models views, themes, widths and keys of the page, in Chromium. */
import assert from "node:assert/strict";
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import type { Locator, Page } from "playwright-core";
import { loadAddon } from "../../src/native/addon.js";
import type { Conversation } from "../../src/server/ui/wire.js";
import { api, demoModel, inBrowser, openPage, serve, showSide, skipPage, until } from "../support/page.js";

const skip =
  skipPage || (loadAddon() === undefined ? "the addon is not loaded: the machine view is NOT tested" : false);

describe("the machine on the page", { skip }, () => {
  const folder = mkdtempSync(join(tmpdir(), "hundredweight-models-"));
  const path = join(folder, "demo.gguf");
  const here = inBrowser(async () => {
    copyFileSync(demoModel, path);
    copyFileSync(demoModel, join(folder, "second.gguf"));
    writeFileSync(join(folder, "broken.gguf"), "GGUF, or not");
    // 4 MiB of weights memory for a model of 7: part of it is streamed.
    const engine = { threads: 1, weightsMemoryBytes: 4 * 2 ** 20, ringBytes: 2 ** 20 };
    return serve({ modelPath: path, engine, config: { modelsFolder: folder } });
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  const textOf = async (at: Locator) => (await at.textContent()) ?? "";
  const tile = (page: Page, name: string) => page.locator(`.tile:has(dt:text-is('${name}')) b`);

  it("shows the plan that runs, and follows what happens", async () => {
    const { page, faults } = await openPage(here.browser, `${here.served.url}/#/machine`);
    await page.waitForSelector(".chart canvas");
    const plan = here.served.server.context.model.info!.residency.plan!;
    assert.equal(plan.strategy, "streamed");
    assert.equal(await page.locator(".map-bars i").count(), plan.map.tensors.length);
    for (const place of ["pinned", "split", "streamed", "rows"] as const)
      assert.equal(
        await page.locator(`.map-bars .bar-${place}`).count(),
        plan.map.tensors.filter((tensor) => tensor.place === place).length,
        place,
      );

    // By pointer and by keyboard.
    await page.hover(".map-bars .bar-split >> nth=0");
    assert.match(await textOf(page.locator(".map-detail")), /pinned in part: .* in memory, .* read at every pass/);
    await page.focus(".map-grid");
    await page.keyboard.press("Home");
    assert.match(await textOf(page.locator(".map-detail")), /^token_embd\.weight/);
    await page.keyboard.press("ArrowDown");
    assert.match(await textOf(page.locator(".map-detail")), /^blk\.0\.attn_norm\.weight/);
    await page.keyboard.press("ArrowRight");
    assert.match((await page.getAttribute(".map-grid", "aria-valuetext"))!, /^blk\.0\.attn_q\.weight/);

    assert.equal(await textOf(tile(page, "Generated")), "0");
    const sampling = { seed: 3, maxTokens: 900 };
    const { id } = await api<Conversation>(here.served.url, "POST", "/ui/conversations", { sampling });
    await api(here.served.url, "POST", `/ui/conversations/${id}/messages`, { parent: null, content: "And" });
    await until(async () => Number(await textOf(tile(page, "Generated"))) > 0);
    await until(async () => /[KM]iB/.test(await textOf(tile(page, "From disk"))));
    await page.waitForSelector(".why:has-text('A token takes')");
    const why = await textOf(page.locator(".why p"));
    assert.match(why, /^A token takes \S+ s: \S+ s waiting for \S+ [KM]iB from disk, \S+ s computing\. \S.* limit\.$/);
    assert.match(await textOf(page.locator(".memory-kinds")), /Streaming ring1\.\d+ MiB1\.\d+ MiB/);
    assert.deepEqual(faults, []);
    await page.context().close();
  });

  it("models of a folder: their plan, what is wrong with a file, and a change", async () => {
    const { page, faults } = await openPage(here.browser, `${here.served.url}/#/models`);
    await page.waitForSelector(".model-item");
    assert.equal(await page.locator(".model-item").count(), 3);
    assert.match(await textOf(page.locator(".model-item[data-loaded=true]")), /demo\.gguf/);
    await page.click(".model-item:has-text('broken.gguf') .model-head");
    await page.waitForSelector(".model-item:has-text('broken.gguf') .failure");
    await page.click(".model-item:has-text('second.gguf') .model-head");
    await page.waitForSelector(".facts:has-text('part in memory, the rest streamed')");
    // Said before it is opened, and planned again for another context.
    await page.waitForSelector(".model-item:has-text('second.gguf') .verdict:has-text('streams · about ')");
    assert.equal(await page.locator(".model-item:has-text('broken.gguf') .verdict").count(), 0);
    await page.fill(".plan-context input", "64");
    await page.press(".plan-context input", "Enter");
    await page.waitForSelector(".facts:has-text('64 tokens')");
    await page.fill(".plan-context input", "");
    await page.press(".plan-context input", "Enter");
    await page.waitForSelector(".facts:has-text('64 tokens')", { state: "detached" });
    await page.click("text=Use this model");
    const dialog = page.locator("dialog :text-is('Change now')");
    await Promise.race([dialog.click().catch(() => {}), page.waitForSelector(".notice.done")]);
    await page.waitForSelector(".model-item[data-loaded=true]:has-text('second.gguf')");
    await until(async () => /second/.test(await textOf(page.locator(".model-chip"))));
    await until(async () => here.served.server.context.model.state.phase === "ready");
    const { id } = await api<Conversation>(here.served.url, "POST", "/ui/conversations", {
      sampling: { maxTokens: 3 },
    });
    await api(here.served.url, "POST", `/ui/conversations/${id}/messages`, { parent: null, content: "And" });
    const answer = async () => (await api<Conversation>(here.served.url, "GET", `/ui/conversations/${id}`)).messages[1];
    await until(async () => (await answer())?.state === "length");
    assert.equal((await answer())!.model, "second");
    assert.deepEqual(faults, []);
    await page.context().close();
  });

  it("both themes, as the system has it or as chosen, kept over a reload", async () => {
    const background = (page: Page) => page.evaluate("getComputedStyle(document.body).backgroundColor");
    const light = await openPage(here.browser, here.served.url, { colorScheme: "light" });
    const dark = await openPage(here.browser, here.served.url, { colorScheme: "dark" });
    const [white, black] = [await background(light.page), await background(dark.page)];
    assert.notEqual(white, black);
    await showSide(dark.page);
    await dark.page.click("[aria-label='Theme of the system']");
    assert.equal(await background(dark.page), white);
    await dark.page.reload();
    assert.equal(await background(dark.page), white);
    await showSide(dark.page);
    await dark.page.click("[aria-label='Light theme']");
    assert.equal(await background(dark.page), black);
    assert.deepEqual([...light.faults, ...dark.faults], []);
    await light.page.context().close();
    await dark.page.context().close();
  });

  it("a narrow screen: nothing is cut off, the side is a drawer", async () => {
    const { page, faults } = await openPage(here.browser, here.served.url, { viewport: { width: 360, height: 640 } });
    for (const view of ["#/", "#/machine", "#/models"]) {
      await page.goto(`${here.served.url}/${view}`);
      await page.waitForSelector(".bar-title");
      await page.waitForSelector(".lazy", { state: "detached" });
      const wide = await page.locator("main").evaluate((main) => main.scrollWidth - main.clientWidth);
      assert.ok(wide <= 0, `${view} is ${wide} px too wide`);
      const high = await page.locator("main").evaluate((main) => main.scrollHeight - main.clientHeight);
      assert.ok(high <= 0, `${view} is ${high} px too high`);
    }
    assert.equal(await page.locator(".side").isVisible(), false);
    await page.click(".side-toggle");
    await page.waitForSelector(".side .views", { state: "visible" });
    await page.click(".views a:has-text('Chat')");
    await page.waitForSelector(".side", { state: "hidden" });
    assert.deepEqual(faults, []);
    await page.context().close();
  });

  it("everything is reached by Tab, and the focus can be seen", async () => {
    const { page } = await openPage(here.browser, here.served.url);
    await page.waitForSelector(".model-chip .state-dot.ready", { state: "attached" });
    await showSide(page);
    await page.evaluate("document.activeElement?.blur()");
    const reached = new Set<string>();
    for (let i = 0; i < 30; i++) {
      await page.keyboard.press("Tab");
      const at = page.locator(":focus");
      if ((await at.count()) === 0) continue;
      const name = (await at.getAttribute("aria-label")) ?? (await at.textContent()) ?? "";
      reached.add(name.trim());
      // Its own outline, or (a field without one) the border of what it is in.
      const outlined = await page.evaluate(
        `(({ outlineStyle }, parent) => outlineStyle !== "none" ||
           parent.borderColor === getComputedStyle(document.querySelector(".views [aria-current] .icon")).color)(
           getComputedStyle(document.activeElement), getComputedStyle(document.activeElement.parentElement))`,
      );
      assert.ok(outlined, name);
    }
    for (const name of ["Skip to the content", "Chat", "Machine", "Models", "New conversation", "Search conversations"])
      assert.ok(reached.has(name), `${name} of ${[...reached]}`);
    assert.ok(reached.has("System prompt and sampler") && reached.has("Message"));
    await page.context().close();
  });
});
