/**
 * With every page closed and over a restart of the server: the answer that was being written goes on with the tokens it
 * would have had, and the message that waited behind it is answered. The model is streamed from disk in part.
 */
import assert from "node:assert/strict";
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { loadAddon } from "../../src/native/addon.js";
import type { Conversation } from "../../src/server/ui/wire.js";
import { api, type Served, serve, until } from "../support/page.js";

const skip = loadAddon() === undefined ? "the addon is not loaded: answers over a restart are NOT tested" : false;
const engine = { threads: 1, weightsMemoryBytes: 4 * 2 ** 20, ringBytes: 2 ** 20, sequences: 2 };
const sampling = { seed: 11, temperature: 0.9, maxTokens: 700 };

const read = ({ url }: Served, id: string) => api<Conversation>(url, "GET", `/ui/conversations/${id}`);
const begin = async ({ url }: Served, more = {}) => {
  const { id } = await api<Conversation>(url, "POST", "/ui/conversations", { sampling: { ...sampling, ...more } });
  await api(url, "POST", `/ui/conversations/${id}/messages`, { parent: null, content: "And it came to pass" });
  return id;
};
const answered = (served: Served, id: string, at: number) =>
  until(async () => ((await read(served, id)).messages[at]?.state ?? "running") !== "running");

describe("answers over a restart", { skip }, () => {
  it("the answer goes on, the next message is sent", async (t) => {
    const data = mkdtempSync(join(tmpdir(), "hundredweight-restart-"));
    t.after(() => rmSync(data, { recursive: true, force: true }));
    const start = () => serve({ engine, config: { dataFolder: data } });
    const first = await start();
    t.after(() => first.stop());
    const whole = await begin(first);
    await answered(first, whole, 1);
    const expected = (await read(first, whole)).messages[1]!.content;

    const id = await begin(first);
    const { leaf } = await read(first, id);
    // A message that waits is short.
    await api(first.url, "PATCH", `/ui/conversations/${id}`, { sampling: { ...sampling, maxTokens: 6 } });
    await api(first.url, "POST", `/ui/conversations/${id}/next`, { after: leaf, content: "Then" });
    await until(async () => (await read(first, id)).messages[1]!.content.length > 30);
    await first.server.stop(0);
    // Another machine, as it were: another folder, whose seats nobody has.
    const copy = mkdtempSync(join(tmpdir(), "hundredweight-copy-"));
    t.after(() => rmSync(copy, { recursive: true, force: true }));
    cpSync(data, copy, { recursive: true });
    const second = await serve({ engine, config: { dataFolder: copy } });
    t.after(() => second.stop());
    await answered(second, id, 3);
    const { messages, next } = await read(second, id);
    assert.deepEqual(
      messages.map(({ role, state }) => `${role} ${state ?? ""}`.trim()),
      ["user", "assistant length", "user", "assistant length"],
    );
    assert.equal(messages[2]!.content, "Then");
    assert.deepEqual(next, []);
    const cut = messages[1]!.stats!.generatedTokens;
    assert.ok(expected.startsWith(messages[1]!.content.slice(0, 25)));
    // Its longest answer was shortened meanwhile: it goes on to the end with the old one.
    await api(second.url, "PATCH", `/ui/conversations/${id}`, { sampling });
    await api(second.url, "POST", `/ui/conversations/${id}/continue`, { message: messages[1]!.id });
    await answered(second, id, 1);
    const ended = (await read(second, id)).messages[1]!;
    assert.equal(ended.stats!.generatedTokens, Math.max(cut, sampling.maxTokens));
    assert.equal(ended.content.slice(0, expected.length), expected);
  });
});
