/**
 * axe-core finds nothing wrong (WCAG 2.2 A and AA, best practices) in any view, in both themes, wide and narrow; no
 * colours either where everything is hovered or focused. Selections and edges of fields stand out, and fingers hit.
 */
import assert from "node:assert/strict";
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import type { Browser, Page } from "playwright-core";
import { newId } from "../../src/server/ui/ids.js";
import type { Conversation } from "../../src/server/ui/wire.js";
import { violations } from "../support/axe.js";
import { importTurns } from "../support/conversation.js";
import {
  api,
  demoModel,
  launchBeside,
  openPage,
  type Served,
  serve,
  showSide,
  skipPage,
  until,
} from "../support/page.js";

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
      "answers side by side",
      "#/c/",
      async (page) => {
        await page.click(".message.assistant:last-of-type [aria-label='Other answers']");
        await page.click(".menu :text('Side by side')");
        await page.waitForSelector(".column");
      },
    ],
    ["a full context", "#/c/", (page) => page.waitForSelector(".line.warn")],
    [
      "the menu of an answer",
      "#/c/",
      async (page) => {
        await page.click(".message.assistant:last-of-type [aria-label='Other answers']");
        await page.waitForSelector(".menu");
      },
    ],
    [
      "a failure and its details",
      "#/c/",
      async (page) => {
        await page.click(".message .failure summary");
        await page.waitForSelector(".message .failure details[open]");
      },
    ],
    [
      "a long draft with a file",
      "#/",
      async (page) => {
        await page.setInputFiles(".composer [type=file]", {
          name: "weights.txt",
          mimeType: "text/plain",
          buffer: Buffer.from("A hundredweight is 112 pounds. ".repeat(20)),
        });
        await page.waitForSelector(".chip");
        await page.fill(".composer textarea", "How many stones is that? ".repeat(20));
        await page.waitForSelector(".price");
      },
    ],
    [
      "a menu",
      "#/",
      async (page) => {
        await showSide(page);
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
  // What is not a colour is the same in both themes: it is looked at in one, and the theme is changed under the page.
  for (const [width, first, second] of [
    [1100, "light", "dark"],
    [360, "dark", "light"],
  ] as const)
    it(`${width} px, ${first} and then ${second}`, async () => {
      const viewport = { width, height: 800 };
      const { page, faults } = await openPage(browser, served.url, { colorScheme: first, viewport });
      await until(async () => (await page.locator(".state-dot.ready").count()) > 0);
      const wrong: string[] = [];
      for (const [name, path, ready] of views) {
        await page.emulateMedia({ colorScheme: first });
        await page.goto("about:blank");
        await page.goto(`${served.url}/${path}${path === "#/c/" ? id : ""}`);
        await ready(page);
        // The colours of states are the same at every width.
        const forced = width === 1100 ? await force(page) : undefined;
        for (const colorScheme of [first, second]) {
          await page.emulateMedia({ colorScheme });
          const all = await violations(page, colorScheme === first ? undefined : ["color-contrast"]);
          wrong.push(...all.map((line) => `${name}, ${colorScheme}: ${line}`));
          if (forced === undefined) continue;
          for (const states of [["hover"], ["focus", "focus-visible"]]) {
            await forced(states);
            const found = await violations(page, ["color-contrast"]);
            wrong.push(...found.map((line) => `${name}, ${colorScheme}, ${states[0]}: ${line}`));
          }
          await forced([]);
        }
      }
      assert.deepEqual(wrong, []);
      assert.deepEqual(faults, []);
      await page.context().close();
    });

  for (const colorScheme of ["light", "dark"] as const)
    it(`${colorScheme}: what is selected and where one writes stand out, 3 to 1`, async () => {
      const { page } = await openPage(browser, `${served.url}/#/c/${id}`, { colorScheme });
      await page.waitForSelector(".row[data-current=true]", { state: "attached" });
      await page.click("[aria-label='System prompt and sampler']");
      await page.waitForSelector(".field input");
      const ratio = (of: string, property: string, beside: string) =>
        page.evaluate(`(${contrast})(
          getComputedStyle(document.querySelector(${JSON.stringify(of)}))[${JSON.stringify(property)}],
          getComputedStyle(document.querySelector(${JSON.stringify(beside)})).backgroundColor)`);
      for (const [of, property, beside] of [
        [".row[data-current=true]", "boxShadow", ".side"],
        [".views a[aria-current]", "boxShadow", ".side"],
        [".icon-button[aria-pressed=true]", "boxShadow", "body"],
        [".composer", "borderTopColor", "body"],
        [".composer", "borderTopColor", ".composer"],
        [".search", "borderTopColor", ".side"],
        [".field input", "borderTopColor", ".panel"],
        [".field select", "borderTopColor", ".panel"],
      ] as const) {
        const found = Number(await ratio(of, property, beside));
        assert.ok(found >= 3, `${of} ${property} on ${beside}: ${found.toFixed(2)}`);
      }
      await page.context().close();
    });

  it("fingers: everything that is touched is 44 px wide and high, and Enter makes a new line", async () => {
    const viewport = { width: 390, height: 800 };
    const { page, faults } = await openPage(browser, served.url, { viewport, hasTouch: true, isMobile: true });
    await until(async () => (await page.locator(".state-dot.ready").count()) > 0);
    const small: string[] = [];
    for (const [name, path, ready] of views) {
      await page.goto("about:blank");
      await page.goto(`${served.url}/${path}${path === "#/c/" ? id : ""}`);
      await ready(page);
      const found = (await page.evaluate(`(${tooSmall})()`)) as string[];
      small.push(...found.map((line) => `${name}: ${line}`));
      const wide = await page.evaluate("document.documentElement.scrollWidth - innerWidth");
      assert.ok(Number(wide) <= 0, `${name} is ${wide} px too wide`);
      const ends = await page.locator(".menu").evaluateAll(([menu]) => menu?.getBoundingClientRect().right ?? 0);
      assert.ok(ends <= viewport.width, `${name}: the menu ends at ${ends} px`);
    }
    assert.deepEqual(small, []);
    await page.goto(`${served.url}/#/`);
    await page.waitForSelector(".welcome h2");
    await page.fill(".composer textarea", "one");
    await page.press(".composer textarea", "Enter");
    assert.equal(await page.inputValue(".composer textarea"), "one\n");
    assert.deepEqual(faults, []);
    await page.context().close();
  });
});

/** Run in the page: WCAG's contrast of the first colour in each of two values. */
const contrast = `(one, other) => {
  const luminance = (value) => {
    const channels = /rgba?\\(([^)]+)\\)/.exec(value)[1].split(/[ ,]+/).slice(0, 3).map((c) => Number(c) / 255);
    const [r, g, b] = channels.map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const [a, b] = [luminance(one), luminance(other)].sort((x, y) => y - x);
  return (a + 0.05) / (b + 0.05);
}`;

/** Run in the page: what can be pressed there and is too small; links in running text are not. */
const tooSmall = `() =>
  [...document.querySelectorAll("button, a, input, select, textarea, summary")].flatMap((element) => {
    if (element.closest(".prose") && element.tagName === "A") return [];
    if (element.matches("[type=file], .skip, summary a")) return [];
    const { width, height, left, right } = element.getBoundingClientRect();
    const visible = element.checkVisibility({ visibilityProperty: true });
    if (!visible || width === 0 || right <= 0 || left >= innerWidth) return [];
    if (width >= 43.5 && height >= 43.5) return [];
    const name = element.getAttribute("aria-label") ?? element.textContent.slice(0, 30);
    return [element.tagName + " " + element.className + " " + name + ": " + width + " x " + height];
  })`;

/** Puts everything that can be pressed into the states of a pointer or a keyboard, all at once. */
async function force(page: Page): Promise<(states: readonly string[]) => Promise<void>> {
  const session = await page.context().newCDPSession(page);
  await session.send("DOM.enable");
  await session.send("CSS.enable");
  const { root } = await session.send("DOM.getDocument", { depth: -1 });
  const selector = "button, a, input, textarea, select, summary, .row";
  const { nodeIds } = await session.send("DOM.querySelectorAll", { nodeId: root.nodeId, selector });
  return async (states) => {
    const forcedPseudoClasses = [...states];
    await Promise.all(nodeIds.map((nodeId) => session.send("CSS.forcePseudoState", { nodeId, forcedPseudoClasses })));
    // Colours that fade are looked at where they end.
    await new Promise((resolve) => setTimeout(resolve, 50));
  };
}

async function importExample(url: string): Promise<string> {
  const stats = { promptTokens: 100, cachedTokens: 50, generatedTokens: 20, prefillMs: 300, decodeMs: 900 };
  const full = { ...stats, promptTokens: 4000, generatedTokens: 96 };
  const source = await importTurns(url, "An example", [
    ["Show me what you can write.", answer, { model: "demo", stats }],
    ["x ".repeat(2000), "Half", { state: "failed", error: { code: "ENGINE_CRASHED", message: "it ended" } }],
    ["And?", "First", { state: "length", cut: "context", model: "demo", stats: full, sampling: { seed: 1 } }],
  ]);
  // Another answer to the last question.
  const file = await api<Conversation & { version: number }>(url, "GET", `/ui/conversations/${source}/export`);
  const last = file.messages.at(-1)!;
  const other = { ...last, id: newId(), content: "Second", sampling: { seed: 2, temperature: 1.2 } };
  await api(url, "DELETE", `/ui/conversations/${source}`);
  const messages = [...file.messages, other];
  return (await api<Conversation>(url, "POST", "/ui/conversations/import", { ...file, messages, leaf: other.id })).id;
}
