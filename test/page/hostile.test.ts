/** Text of a model or a file does nothing on the page: no script runs, nothing is fetched, no link leads to code. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { newId } from "../../src/server/ui/ids.js";
import type { Conversation, Message } from "../../src/server/ui/wire.js";
import { api, inBrowser, openPage, skipPage, until } from "../support/page.js";

const evil = "window.evil = (window.evil || 0) + 1";
const attacks = [
  `<script>${evil}</script>`,
  `<img src=x onerror="${evil}">`,
  `<svg onload="${evil}"><script>${evil}</script></svg>`,
  `<iframe srcdoc="<script>parent.evil=1</script>"></iframe>`,
  `<a href="javascript:${evil}">click</a>`,
  `[click](javascript:${encodeURI(evil)})`,
  `[click](JaVaScRiPt&colon;${encodeURI(evil)})`,
  `[click](data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==)`,
  `[click](//evil.example/x "title")`,
  `![picture](https://evil.example/pixel.png)`,
  `![x](javascript:${encodeURI(evil)})`,
  `<https://ok.example/"onmouseover="${evil}>`,
  `\`\`\`"><img src=x onerror=${evil}>\n</code></pre><script>${evil}</script>\n\`\`\``,
  `\`\`\`html\n<script>${evil}</script><img src=x onerror="${evil}">\n\`\`\``,
  `| a | <img src=x onerror="${evil}"> |\n|---|---|\n| <script>${evil}</script> | b |`,
  `<div style="position:fixed;inset:0" onclick="${evil}">over everything</div>`,
  `<form action="https://evil.example"><button>send</button></form>`,
  `<math><mtext><table><mglyph><style><!--</style><img title="--&gt;&lt;img src=1 onerror=${evil}&gt;">`,
  `[ref]\n\n[ref]: javascript:${encodeURI(evil)}`,
  `<button class="code-copy" type="button" onclick="${evil}">Copy</button>`,
  `&lt;script&gt;${evil}&lt;/script&gt;`,
  `<think><img src=x onerror="${evil}"></think>`,
  `- [ ] <input autofocus onfocus="${evil}">`,
  `<style>body{display:none}</style><link rel=stylesheet href=https://evil.example/x.css>`,
  `<meta http-equiv="refresh" content="0;url=https://evil.example">`,
  `<base href="https://evil.example/">`,
  `$\\text{<img src=x onerror="${evil}">}$ and \\(\\mathrm{</mi><script>${evil}</script>}\\)`,
  `$$\\href{javascript:${evil}}{x}$$`,
];

describe("hostile text on the page", { skip: skipPage }, () => {
  const here = inBrowser();

  it("is shown, and nothing more", async () => {
    const now = new Date().toISOString();
    const messages: Message[] = [];
    for (const content of attacks) {
      const parent = messages.at(-1)?.id ?? null;
      const question: Message = { id: newId(), parent, role: "user", content, createdAt: now };
      const answer: Message = {
        id: newId(),
        parent: question.id,
        role: "assistant",
        content,
        createdAt: now,
        state: "failed",
        model: content,
        error: { code: content.slice(0, 100), message: content },
      };
      messages.push(question, answer);
    }
    const file = {
      version: 1,
      id: newId(),
      title: attacks[1],
      createdAt: now,
      updatedAt: now,
      system: attacks[0],
      sampling: {},
      leaf: messages.at(-1)!.id,
      messages,
    };
    const { id } = await api<Conversation>(here.served.url, "POST", "/ui/conversations/import", file);
    for (const title of attacks)
      await api(here.served.url, "POST", "/ui/conversations", { title: title.slice(0, 200) });

    const { page, faults } = await openPage(here.browser, here.served.url);
    const foreign: string[] = [];
    page.on("request", (request) => {
      if (!request.url().startsWith(here.served.url)) foreign.push(request.url());
    });
    page.on("dialog", (dialog) => foreign.push(dialog.message()));
    await page.goto(`${here.served.url}/#/c/${id}`);
    await page.waitForSelector(".message.assistant .block");
    await until(async () => (await page.locator(".message").count()) === 2 * attacks.length);
    for (const fold of await page.locator(".thinking-head").all()) await fold.click();
    await page.click("[aria-label='System prompt and sampler']");

    const allowed = /^https?:\/\/(ok|evil)\.example\/|^mailto:/;
    for (const link of await page.locator(".prose a").all()) {
      assert.match((await link.getAttribute("href"))!, allowed);
      assert.equal(await link.getAttribute("target"), "_blank");
      assert.match((await link.getAttribute("rel"))!, /noopener noreferrer/);
    }
    assert.equal(
      await page.locator(".messages :is(script, iframe, img, style, link, form, object, base, meta)").count(),
      0,
    );
    const handlers = await page.evaluate(
      `[...document.querySelectorAll(".messages *")].flatMap((element) =>
         element.getAttributeNames().filter((name) => /^on|^style$|^srcdoc$/.test(name)))`,
    );
    assert.deepEqual(handlers, []);
    // Raw HTML is text that can be read.
    assert.ok((await page.locator(".messages").textContent())!.includes(`<img src=x onerror="${evil}">`));
    await page.evaluate(
      `for (const element of document.querySelectorAll(".messages *"))
         element.dispatchEvent(new MouseEvent("mouseover", { bubbles: true }))`,
    );
    assert.equal(await page.evaluate(`"evil" in window`), false);
    assert.deepEqual(foreign, []);
    assert.deepEqual(faults, []);
    await page.context().close();
  });
});
