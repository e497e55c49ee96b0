/** The built page: small, complete in itself, and the same from the same sources. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { gunzipSync, gzipSync } from "node:zlib";
import { packageRoot } from "../../src/package-root.js";
import { StaticFiles } from "../../src/server/ui/static-files.js";

const page = join(packageRoot(), "dist", "page");
const skip = existsSync(join(page, "index.html")) ? false : "the page is not built (npm run build): it is NOT measured";
if (skip) console.error(`SKIPPED: ${skip}`);

const names = (folder: string) => readdirSync(folder, { recursive: true }).map(String).sort();
const files = skip ? [] : names(page).filter((name) => statSync(join(page, name)).isFile());
const gzipBytes = (name: string) => gzipSync(readFileSync(join(page, name)), { level: 9 }).byteLength;

test("what is loaded first is below 150 KB gzip, and so is everything", { skip }, () => {
  const html = readFileSync(join(page, "index.html"), "utf8");
  const first = [...html.matchAll(/(?:src|href)="\/([^"]+)"/g)].map((match) => match[1]!);
  assert.ok(first.some((name) => name.endsWith(".js")) && first.some((name) => name.endsWith(".css")));
  const initial = first.reduce((sum, name) => sum + gzipBytes(name), gzipBytes("index.html"));
  const all = files.filter((name) => !/\.(br|gz)$/.test(name)).reduce((sum, name) => sum + gzipBytes(name), 0);
  console.log(`the page: ${initial} bytes gzip to begin with, ${all} in all`);
  assert.ok(initial < 150_000, `${initial} bytes`);
  assert.ok(all < 150_000, `${all} bytes`);
});

test("nothing from elsewhere, nothing inline, and every file is one that is served", { skip }, () => {
  const html = readFileSync(join(page, "index.html"), "utf8");
  assert.doesNotMatch(html, /<script(?![^>]*\ssrc=)[^>]*>|<style|\sstyle=|\son\w+=/i);
  assert.doesNotMatch(html, /(?:src|href)="(?!\/)/);
  const served = new StaticFiles(page).paths;
  for (const name of files) {
    if (/\.(br|gz)$/.test(name)) continue;
    assert.ok(served.includes(`/${name.replaceAll("\\", "/")}`), name);
    if (!name.endsWith(".css")) continue;
    assert.doesNotMatch(readFileSync(join(page, name), "utf8"), /url\(|@import/, name);
  }
});

test("compressed forms are those of the files", { skip }, () => {
  const compressed = files.filter((name) => name.endsWith(".gz"));
  assert.ok(compressed.length >= 4);
  for (const name of compressed)
    assert.deepEqual(gunzipSync(readFileSync(join(page, name))), readFileSync(join(page, name.slice(0, -3))));
});

test("the same sources give the same bytes", { skip, timeout: 60_000 }, async (t) => {
  const vite = await import("vite").catch(() => undefined);
  if (vite === undefined) return t.skip("vite is not installed");
  const folder = mkdtempSync(join(tmpdir(), "hundredweight-build-"));
  after(() => rmSync(folder, { recursive: true, force: true }));
  const digests = async (outDir: string) => {
    await vite.build({ configFile: join(packageRoot(), "web", "vite.config.ts"), build: { outDir } });
    return names(outDir)
      .filter((name) => statSync(join(outDir, name)).isFile())
      .map(
        (name) =>
          `${name} ${createHash("sha256")
            .update(readFileSync(join(outDir, name)))
            .digest("hex")}`,
      );
  };
  assert.deepEqual(await digests(join(folder, "one")), await digests(join(folder, "two")));
});
