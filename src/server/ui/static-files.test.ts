import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { brotliCompressSync, brotliDecompressSync, gunzipSync, gzipSync } from "node:zlib";
import { StaticFiles } from "./static-files.js";

const folder = mkdtempSync(join(tmpdir(), "hundredweight-static-"));
after(() => rmSync(folder, { recursive: true, force: true }));
mkdirSync(join(folder, "assets"));
const code = "console.log(1);".repeat(100);
writeFileSync(join(folder, "index.html"), "<!doctype html>");
writeFileSync(join(folder, "assets", "index-abc.js"), code);
writeFileSync(join(folder, "assets", "index-abc.js.br"), brotliCompressSync(code));
writeFileSync(join(folder, "assets", "index-abc.js.gz"), gzipSync(code));
writeFileSync(join(folder, "notes.txt"), "not of the page");
const files = new StaticFiles(folder);
const ask = (path: string, headers: Record<string, string> = {}) => files.answer(path, new Headers(headers));

test("the form the browser accepts, with its own tag", async () => {
  const forms = {
    br: brotliDecompressSync,
    gzip: gunzipSync,
    identity: (body: Buffer) => body,
  };
  const tags = new Set<string>();
  for (const [encoding, decode] of Object.entries(forms)) {
    const answer = ask("/assets/index-abc.js", { "accept-encoding": encoding })!;
    assert.equal(answer.headers.get("content-encoding") ?? "identity", encoding);
    assert.equal(answer.headers.get("content-type"), "text/javascript; charset=utf-8");
    assert.match(answer.headers.get("cache-control")!, /immutable/);
    tags.add(answer.headers.get("etag")!);
    assert.equal(decode(Buffer.from(await answer.arrayBuffer())).toString(), code);
  }
  assert.equal(tags.size, 3);
  const [tag] = tags;
  const again = ask("/assets/index-abc.js", { "accept-encoding": "br, gzip", "if-none-match": `"x", W/${tag}` })!;
  assert.equal(again.status, 304);
  assert.equal(await again.text(), "");
});

test("the page is looked at again each time, under a policy that lets nothing else run", () => {
  const { headers } = ask("/")!;
  assert.equal(headers.get("cache-control"), "no-cache");
  const policy = headers.get("content-security-policy")!;
  assert.match(policy, /^default-src 'self';/);
  assert.doesNotMatch(policy, /unsafe|https?:|\*/);
});

test("nothing but its files, whatever the path", () => {
  for (const path of ["/notes.txt", "/../package.json", "/assets/../../package.json", "/assets", "//", "/%2e%2e/x"])
    assert.equal(ask(path), undefined);
  assert.ok(new StaticFiles(join(folder, "absent")).empty);
});
