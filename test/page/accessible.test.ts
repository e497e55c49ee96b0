/** axe-core finds nothing wrong (WCAG 2.2 A and AA, best practices) in any view, in both themes, wide and narrow. */
import assert from "node:assert/strict";
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import axe from "axe-core";
import type { Browser, Page } from "playwright-core";
import { importTurns } from "../support/conversation.js";
import { demoModel, launchBeside, openPage, type Served, serve, skipPage, until } from "../support/page.js";

const answer = `<think>First, then **second**.</think>
## A heading
Some \`code\`, a [link](https://ok.example/) and a list:

- [ ] to do
- [x] done

| name | value |
| --- | ---: |
| a | 1 |

\`\`\`python
def f(x):  # a comment
    return "text" + str(x * 1.5)
\`\`\`

> A quote.`;

describe("the page is accessible", { skip: skipPage }, () => {
  let browser: Browser;
  let served: Served;
  let id: string;
  const folder = mkdtempSync(join(tmpdir(), "hundredweight-axe-"));
  before(async () => {
    copyFileSync(demoModel, join(folder, "demo.gguf"));
    writeFileSync(join(folder, "broken.gguf"), "GGUF, or not");
    const config = { modelsFolder: folder };
    [browser, served] = await launchBeside(serve({ modelPath: join(folder, "demo.gguf"), config }));
    id = await importExample(served.url);
  });
  after(async () => {
    await browser?.close();
    await served?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  const views: readonly (readonly [name: string, path: string, ready: (page: Page) => Promise<unknown>])[] = [
    ["an empty chat", "#/", (page) => page.waitForSelector(".welcome h2")],
    [
      "a conversation",
      "#/c/",
      async (page) => {
        await page.waitForSelector(".message .block");
        await page.click(".thinking-head");
      },
    ],
    [
      "settings",
      "#/c/",
      async (page) => {
        await page.click("[aria-label='System prompt and sampler']");
        await page.click(".rarer summary");
      },
    ],
    [
      "an editor",
      "#/c/",
      async (page) => {
        await page.focus(".message.user .edit");
        await page.keyboard.press("Enter");
        await page.waitForSelector(".editor");
      },
    ],
    [
      "a menu",
      "#/",
      async (page) => {
        if (await page.locator(".side-toggle").isVisible()) await page.click(".side-toggle");
        await page.click(".row-more");
        await page.waitForSelector(".menu");
      },
    ],
    [
      "keys",
      "#/",
      async (page) => {
        await page.evaluate("document.activeElement?.blur()");
        await page.keyboard.press("?");
        await page.waitForSelector("dialog[open]");
      },
    ],
    ["the machine", "#/machine", (page) => page.waitForSelector(".chart canvas")],
    [
      "models",
      "#/models",
      async (page) => {
        await page.click(".model-item:has-text('broken') .model-head");
        await page.waitForSelector(".model-item .failure");
        await page.click(".model-item[data-loaded=true] .model-head");
        await page.waitForSelector(".facts");
      },
    ],
  ];
  for (const colorScheme of ["light", "dark"] as const)
    for (const width of [1100, 360])
      it(`${colorScheme}, ${width} px`, async () => {
        const { page, faults } = await openPage(browser, served.url, { colorScheme, viewport: { width, height: 800 } });
        await until(async () => (await page.locator(".state-dot.ready").count()) > 0);
        const wrong: string[] = [];
        for (const [name, path, ready] of views) {
          await page.goto("about:blank");
          await page.goto(`${served.url}/${path}${path === "#/c/" ? id : ""}`);
          await ready(page);
          wrong.push(...(await violations(page)).map((line) => `${name}: ${line}`));
        }
        assert.deepEqual(wrong, []);
        assert.deepEqual(faults, []);
        await page.context().close();
      });
});

async function violations(page: Page): Promise<string[]> {
  await page.evaluate(axe.source);
  const options = { resultTypes: ["violations"] };
  const { violations: found } = (await page.evaluate(`axe.run(document, ${JSON.stringify(options)})`)) as {
    violations: { id: string; nodes: { target: string[]; failureSummary: string }[] }[];
  };
  return found.flatMap(({ id, nodes }) => nodes.map((node) => `${id} ${node.target}: ${node.failureSummary}`));
}

function importExample(url: string): Promise<string> {
  const stats = { promptTokens: 100, cachedTokens: 50, generatedTokens: 20, prefillMs: 300, decodeMs: 900 };
  return importTurns(url, "An example", [
    ["Show me what you can write.", answer, { model: "demo", stats }],
    ["x ".repeat(2000), "Half", { state: "failed", error: { code: "ENGINE_CRASHED", message: "it ended" } }],
    ["And?", "", { state: "stopped" }],
  ]);
}
