/** Models of this computer on the page: one is fetched, its plan first, cancelled, gone on with and changed to. */
import assert from "node:assert/strict";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import axe from "axe-core";
import type { Browser, Page } from "playwright-core";
import { TestHub } from "../store/test-hub.js";
import { demoModel, launchBeside, openPage, type Served, serve, skipPage, until } from "../support/page.js";

describe("models are fetched on the page", { skip: skipPage }, () => {
  const root = mkdtempSync(join(tmpdir(), "hundredweight-pulls-"));
  const models = join(root, "models");
  const own = join(models, "me", "first", "first.gguf");
  const saved = { ...process.env };
  let hub: TestHub;
  let browser: Browser;
  let served: Served;
  before(async () => {
    hub = await TestHub.start();
    const demo = readFileSync(demoModel);
    hub.add("org/tiny-GGUF", "tiny-F16.gguf", demo);
    hub.add("org/broken-GGUF", "broken-F16.gguf", Buffer.from("GGUF, or not".padEnd(2000, "!")));
    Object.assign(process.env, { HOME: root, HUNDREDWEIGHT_MODELS: models, HF_ENDPOINT: hub.address });
    mkdirSync(join(models, "me", "first"), { recursive: true });
    copyFileSync(demoModel, own);
    [browser, served] = await launchBeside(serve({ modelPath: own, config: { computerModels: true } }));
  });
  after(async () => {
    await browser?.close();
    await served?.stop();
    await hub?.stop();
    process.env = saved;
    rmSync(root, { recursive: true, force: true });
  });

  const look = async (page: Page, word: string): Promise<void> => {
    await page.fill("#pull-word", word);
    await page.press("#pull-word", "Enter");
  };
  const listed = async (): Promise<string[]> => {
    const { data } = (await (await fetch(`${served.url}/v1/models`)).json()) as { data: { id: string }[] };
    return data.map(({ id }) => id);
  };

  it("tells what it would do here before anything is fetched, and what cannot be", async () => {
    const { page, faults } = await openPage(browser, `${served.url}/#/models`);
    await look(page, "org/tiny-GGUF");
    await page.waitForSelector(".pull-offer");
    const said = (await page.textContent(".pull-offer"))!;
    assert.match(said, /^org\/tiny-GGUF:F16: \d\S* MiB; on this machine about \S+ tokens\/s, all of it in \S+ GiB/);
    assert.match(said, /Fetch \d\S* MiB/);
    await page.click("text=Not this one");
    assert.equal(await page.locator(".pull-offer").count(), 0);
    await look(page, "org/broken-GGUF");
    await page.waitForSelector(".pull-offer:has-text('cannot be run: ')");
    await look(page, "org/none");
    await page.waitForSelector(".pull-card > .failure");
    assert.deepEqual(await listed(), ["me/first:first"]);
    // What the hub refuses is an error of a request, which the browser notes.
    assert.deepEqual(
      faults.filter((fault) => !fault.includes("404")),
      [],
    );
    await page.context().close();
  });

  it("fetches in sight, stops when told, goes on, and changes to what it fetched", async () => {
    const { page, faults } = await openPage(browser, `${served.url}/#/models`, { colorScheme: "dark" });
    await look(page, "org/tiny-GGUF");
    hub.faults.rate = 2 ** 20;
    await page.click(".pull-offer .primary");
    await page.waitForSelector(".pull-row progress[max]");
    await page.waitForSelector(".pull-row:has-text(' MiB of ')");
    assert.deepEqual(await violations(page), []);
    await page.click(".pull-row :text-is('Cancel')");
    await page.waitForSelector(".pull-row:has-text('Cancelled; what was fetched is kept.')");
    assert.equal(await page.locator(".model-item").count(), 1);
    delete hub.faults.rate;
    await page.click(".pull-row :text-is('Go on')");
    await page.waitForSelector(".pull-row:has-text('It is here.')");
    await page.waitForSelector(".model-item:has-text('org/tiny-GGUF:F16')");
    await page.click(".pull-row :text-is('Dismiss')");
    await page.waitForSelector(".pull-row", { state: "detached" });
    assert.deepEqual(readFileSync(join(models, "org", "tiny-GGUF", "tiny-F16.gguf")), readFileSync(demoModel));

    await page.click(".model-item:has-text('org/tiny-GGUF:F16') .model-head");
    await page.click("text=Use this model");
    await page.waitForSelector(".model-item[data-loaded=true]:has-text('org/tiny-GGUF:F16')");
    const { model } = served.server.context;
    await until(async () => model.state.phase === "ready");
    assert.equal(model.id, "org/tiny-GGUF:F16");
    assert.deepEqual(faults, []);
    await page.context().close();
  });

  it("a request of any API that names a model of the list changes to it", async () => {
    assert.deepEqual((await listed()).sort(), ["me/first:first", "org/tiny-GGUF:F16"]);
    const ask = async (name: string): Promise<Response> =>
      fetch(`${served.url}/v1/completions`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ model: name, prompt: "And", max_tokens: 2 }),
      });
    const answer = (await (await ask("me/first:first")).json()) as { model: string };
    assert.equal(answer.model, "me/first:first");
    assert.equal(served.server.context.model.state.path, own);
    // A name of no model here is answered by the one that is served.
    const other = await ask("gpt-4o");
    assert.match(other.headers.get("x-hundredweight-warnings")!, /'gpt-4o' is not served, 'me\/first:first' answers/);
  });

  it("is for this computer itself, or with a key", async () => {
    const host = "localhost";
    const from = (remoteAddress: string) => ({ incoming: { socket: { remoteAddress } } });
    const ask = (path: string, address: string) =>
      served.server.app.request(
        `http://localhost${path}`,
        { method: "POST", headers: { host, "content-type": "application/json" }, body: '{"word":"org/none"}' },
        from(address),
      );
    for (const path of ["/ui/pulls", "/ui/pulls/plan"]) {
      const refused = await ask(path, "192.0.2.7");
      assert.equal(refused.status, 403);
      assert.match(await refused.text(), /for this computer itself, or with a key/);
    }
    assert.equal((await ask("/ui/pulls/plan", "::ffff:127.0.0.1")).status, 404);
    const headers = { host };
    const choice = await served.server.app.request("http://localhost/ui/models", { headers }, from("192.0.2.7"));
    assert.equal(((await choice.json()) as { mayPull: boolean }).mayPull, false);
  });
});

async function violations(page: Page): Promise<string[]> {
  await page.evaluate(axe.source);
  const options = { runOnly: ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa", "best-practice"] };
  const found = (await page.evaluate(`axe.run(document, ${JSON.stringify(options)})`)) as {
    violations: { id: string; nodes: { html: string }[] }[];
  };
  return found.violations.map(({ id, nodes }) => `${id}: ${nodes[0]?.html}`);
}
