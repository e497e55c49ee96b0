/** The packages of a release, installed as on a machine that can compile nothing and reach nothing. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { addonStatus } from "../../src/native/addon.js";
import { prebuiltPlatforms } from "../../src/native/prebuilt.js";
import { packageRoot } from "../../src/package-root.js";

const root = packageRoot();
const here = `${process.platform}-${process.arch}`;
const work = mkdtempSync(join(tmpdir(), "hundredweight-release-"));
after(() => rmSync(work, { recursive: true, force: true }));

const skip =
  addonStatus().state !== "loaded"
    ? `the addon is not loaded: ${addonStatus().reason}`
    : !prebuiltPlatforms.some((name) => name === here) || process.platform === "win32"
      ? `no packages are made for ${here}, or not from it`
      : !["dist/page", "dist/app"].every((name) => existsSync(join(root, name)))
        ? "dist/app and dist/page are not there: npm run build"
        : false;

function script(name: string, ...args: string[]): string {
  const run = spawnSync(process.execPath, [join(root, "scripts/release", name), ...args], { encoding: "utf8" });
  assert.equal(run.status, 0, `${name}: ${run.stdout}\n${run.stderr}`);
  return run.stdout;
}

test("packages install without compiler, scripts, cache and network, and answer", { skip, timeout: 300_000 }, () => {
  const [native, packages, figures] = ["native", "packages", "figures.json"].map((name) => join(work, name));
  mkdirSync(join(native!, here), { recursive: true });
  copyFileSync(addonStatus().path!, join(native!, here, "hundredweight.node"));
  script("packages.mjs", "--native", native!, "--out", packages!, "--platforms", here);
  console.log(script("try-install.mjs", "--packages", packages!, "--json", figures!));
  const { archives, npx } = JSON.parse(readFileSync(figures!, "utf8"));
  // Nothing but the program and its binary. npm looks up packages that a queue would need, and installs none of them.
  assert.deepEqual(archives.packages, ["@hundredweight", "hundredweight"]);
  assert.deepEqual(npx.notHere, ["bullmq", "ioredis"]);
  assert.equal(npx.text, archives.text);
  assert.ok(archives.installedBytes < 40e6, `${archives.installedBytes} bytes installed`);
  const about = JSON.parse(readFileSync(join(packages!, "staged/hundredweight/package.json"), "utf8"));
  assert.deepEqual(about.optionalDependencies, { [`@hundredweight/${here}`]: about.version });
  assert.equal(about.dependencies, undefined);
  for (const name of npx.notHere) assert.equal(about.peerDependenciesMeta[name].optional, true);
  // The developer's build stays at home: it would be taken first.
  assert.equal(existsSync(join(packages!, "staged/hundredweight/build")), false);
  assert.ok(statSync(join(packages!, "staged/hundredweight/dist/src/index.d.ts")).isFile());
});
