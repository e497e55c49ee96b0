/**
 * A mixture of experts larger than its memory, on the machine view: slots on the map, in the memory, and their hits.
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import type { Locator } from "playwright-core";
import { loadAddon } from "../../src/native/addon.js";
import type { Conversation, Message } from "../../src/server/ui/wire.js";
import { parseSpec } from "../../src/synth/presets.js";
import { layOutSynth, writeSynth } from "../../src/synth/synth.js";
import { bytes } from "../../web/src/format.js";
import { api, inBrowser, openPage, serve, skipPage, until } from "../support/page.js";

const skip =
  skipPage || (loadAddon() === undefined ? "the addon is not loaded: expert slots are NOT seen on the page" : false);
const mebibyte = 2 ** 20;
const spec =
  "qwen3moe,layers=4,dim=256,heads=4,kv-heads=2,head-dim=64,vocab=2048,experts=32,top-k=4,expert-hidden=256,context=2048";

describe("experts on the page", { skip }, () => {
  const folder = mkdtempSync(join(tmpdir(), "hundredweight-experts-"));
  const here = inBrowser(async () => {
    const modelPath = join(folder, "experts.gguf");
    const { name, shape } = parseSpec(spec);
    await writeSynth(modelPath, layOutSynth(name, shape));
    // Room for the trunk (1.6 MiB), the ring and some of the 15 MiB of experts.
    const engine = { threads: 1, weightsMemoryBytes: 8 * mebibyte, ringBytes: mebibyte };
    return serve({ modelPath, engine });
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  const textOf = async (at: Locator) => (await at.textContent()) ?? "";

  it("slots have a colour of their own, bytes on hover, and a chart of their hits", async () => {
    const plan = here.served.server.context.model.info!.residency.plan!;
    assert.equal(plan.strategy, "experts");
    const { slots } = plan.map;
    assert.ok(slots!.slots < slots!.experts, "some experts do not fit");
    const { page, faults } = await openPage(here.browser, `${here.served.url}/#/machine`);
    await page.waitForSelector(".chart canvas");

    const bars = page.locator(".map-bars .bar-slots");
    assert.equal(await bars.count(), plan.map.tensors.filter((tensor) => tensor.place === "slots").length);
    const colorOf = (selector: string) =>
      page.evaluate(`getComputedStyle(document.querySelector("${selector}")).backgroundColor`);
    assert.notEqual(await colorOf(".map-bars .bar-slots"), await colorOf(".map-bars .bar-pinned"));
    assert.equal(await colorOf(".map-bars .bar-slots"), await colorOf(".map-keys .slots"));
    assert.match(
      await textOf(page.locator(".map-keys")),
      new RegExp(`${slots!.slots} slots .* ${slots!.experts} experts`),
    );
    await bars.first().hover();
    const share = Math.round((100 * slots!.slots) / slots!.experts);
    const detail = new RegExp(`^blk\\.0\\.ffn_\\w+_exps\\.weight .* MiB, 32 experts · expert slots: .* ${share} % `);
    assert.match(await textOf(page.locator(".map-detail")), detail);

    const tile = page.locator(".tile:has(dt:text-is('Expert hits'))");
    assert.match(await textOf(tile), /^Expert hits– .*expected \d+ %$/);
    const sampling = { seed: 3, maxTokens: 1800 };
    const { id } = await api<Conversation>(here.served.url, "POST", "/ui/conversations", { sampling });
    const url = `/ui/conversations/${id}`;
    const { id: parent } = await api<Message>(here.served.url, "POST", `${url}/messages`, {
      parent: null,
      content: "And",
    });
    // On a busy machine an answer may be over before the page was looked at: then there is another.
    const answering = async () => {
      const { messages } = await api<Conversation>(here.served.url, "GET", url);
      if (!messages.some(({ state }) => state === "running"))
        await api(here.served.url, "POST", `${url}/answers`, { parent });
    };
    const shows = (at: Locator) => async () => {
      const rate = Number.parseFloat(await textOf(at));
      if (rate > 0 && rate < 100) return true;
      await answering();
      return false;
    };
    await until(shows(tile.locator("b")));
    await until(shows(page.locator(".chart:has(:text-is('Experts found in memory')) .key b")));
    const inUse = page.locator(".memory-kinds tr:has-text('Expert slots') td:last-child");
    await until(async () => /MiB/.test(await textOf(inUse)));
    assert.equal(await textOf(inUse), bytes(plan.bytes.expertSlots));
    assert.deepEqual(faults, []);
    await page.context().close();
  });
});
