/** The page's routes without the page: what is wrong is refused with a reason, and bounded. */
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import type { Conversation } from "../../src/server/ui/wire.js";
import { api, type Served, serve } from "../support/page.js";

describe("the page's routes", () => {
  let served: Served;
  before(async () => {
    served = await serve();
  });
  after(() => served?.stop());

  const send = async (method: string, path: string, body?: string, headers: Record<string, string> = {}) => {
    const response = await fetch(served.url + path, {
      method,
      headers: { "content-type": "application/json", ...headers },
      ...(body !== undefined && { body }),
    });
    const text = await response.text();
    const { error } = text === "" ? {} : (JSON.parse(text) as { error?: { message: string; code: string } });
    return { status: response.status, message: error?.message ?? "", code: error?.code };
  };

  it("wrong bodies name the field; large, deep and broken ones end early", async () => {
    const { id } = await api<Conversation>(served.url, "POST", "/ui/conversations", {});
    const one = `/ui/conversations/${id}`;
    const wrong: [string, string, string, number, RegExp][] = [
      ["PATCH", one, '{"title": ""}', 400, /^title/],
      ["PATCH", one, '{"sampling": {"topP": 2}}', 400, /^sampling\.topP/],
      ["PATCH", one, '{"sampling": {"unheard": 2}}', 400, /unheard/],
      ["PATCH", one, '{"id": "x"}', 400, /id/],
      ["PATCH", one, `{"leaf": "${id}"}`, 404, /no such message/],
      ["POST", `${one}/messages`, '{"content": "x"}', 400, /^parent/],
      ["POST", `${one}/messages`, '{"parent": null, "content": ""}', 400, /^content/],
      ["POST", `${one}/messages`, `{"parent": null, "content": "${"x".repeat(2 ** 20 + 1)}"}`, 400, /^content/],
      ["POST", `${one}/messages`, `{"parent": null, "content": "${"x".repeat(2 ** 23)}"}`, 413, /larger/],
      ["POST", `${one}/messages`, `{"parent": "../../x", "content": "x"}`, 400, /^parent/],
      ["POST", `${one}/stop`, `{"message": "${id}"}`, 200, /^$/],
      ["POST", "/ui/conversations", "[".repeat(100_000), 400, /deep/],
      ["POST", "/ui/conversations", '{"title": "x"', 400, /not JSON/],
      ["POST", "/ui/conversations/import", '{"version": 2}', 400, /version|id/],
      ["POST", "/ui/conversations/import", `{"x": "${"x".repeat(2 ** 24)}"}`, 413, /larger/],
    ];
    for (const [method, path, body, status, message] of wrong) {
      const answer = await send(method, path, body);
      assert.equal(answer.status, status, `${path} ${body.slice(0, 60)}: ${answer.message}`);
      assert.match(answer.message, message);
    }
    assert.deepEqual((await api<Conversation>(served.url, "GET", one)).messages, []);
  });

  it("names lead nowhere but to conversations", async () => {
    for (const name of ["..", "%2e%2e%2f%2e%2e%2fetc%2fpasswd", "nothing", "01m82799816zt22xyw75xh71y7", "a%00b"])
      for (const [method, path, body] of [
        ["GET", "", undefined],
        ["GET", "/export", undefined],
        ["GET", "/events", undefined],
        ["PATCH", "", '{"title": "x"}'],
        ["DELETE", "", undefined],
        ["POST", "/messages", '{"parent": null, "content": "x"}'],
      ] as const) {
        const answer = await send(method, `/ui/conversations/${name}${path}`, body);
        assert.equal(answer.status, 404, `${method} ${name}${path}`);
      }
    const files = readdirSync(join(served.data, "conversations"));
    assert.ok(files.every((name) => /^[0-9a-z]{26}\.conversation\.jsonl$/.test(name)));
    assert.deepEqual(readdirSync(served.data).sort(), ["conversations", "conversations.lock"]);
  });

  it("pages of other origins may neither read nor write", async () => {
    const headers = { origin: "https://evil.example" };
    for (const [method, path, body] of [
      ["GET", "/ui/conversations", undefined],
      ["POST", "/ui/conversations", "{}"],
      ["POST", "/ui/conversations/import", "{}"],
    ] as const)
      assert.equal((await send(method, path, body, headers)).status, 403);
  });

  it("models are there only where a folder was given", async () => {
    assert.equal((await send("GET", "/ui/models")).status, 404);
    assert.equal((await send("POST", "/ui/models/x/load", "{}")).status, 404);
  });
});
