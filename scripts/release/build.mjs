// Builds the addon for every platform and holds each binary against what its platform allows.
//   node scripts/release/build.mjs [--platforms linux-x64,darwin-arm64] [--out build/release/native] [--twice]
//     --twice   builds a second time, from a copy of the sources in another folder and with empty caches, and compares
//               the bytes
// Writes OUT/PLATFORM/hundredweight.node and OUT/native.json: bytes, SHA-256, exports, imports, versions of symbols.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { checkBinary } from "./check-binary.mjs";
import { platformsNamed, root } from "./platforms.mjs";

const { values: options } = parseArgs({
  options: {
    platforms: { type: "string" },
    out: { type: "string", default: join(root, "build/release/native") },
    twice: { type: "boolean", default: false },
    jobs: { type: "string", default: "2" },
  },
});
const out = resolve(options.out);

function build(platform, file, from, env) {
  const args = ["scripts/build-native.mjs", "--target", platform.name, "--out", file, "--jobs", options.jobs];
  const run = spawnSync(process.execPath, args, { cwd: from, env, stdio: ["ignore", "ignore", "inherit"] });
  if (run.status !== 0 || !existsSync(file)) throw new Error(`${platform.name} was not built`);
  return readFileSync(file);
}

const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");

/** The sources elsewhere, with nothing that an earlier build left: what it makes of them may not depend on that. */
function buildElsewhere(platform) {
  const folder = mkdtempSync(join(tmpdir(), "hundredweight-release-"));
  try {
    for (const name of ["native", "package.json", "scripts", "src/native"])
      cpSync(join(root, name), join(folder, name), { recursive: true });
    symlinkSync(join(root, "node_modules"), join(folder, "node_modules"));
    const caches = { ZIG_GLOBAL_CACHE_DIR: join(folder, "cache"), ZIG_LOCAL_CACHE_DIR: join(folder, "cache") };
    return build(platform, join(folder, "again.node"), folder, { ...process.env, ...caches });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const results = {};
let failed = 0;
for (const platform of platformsNamed(options.platforms)) {
  const began = Date.now();
  try {
    const file = join(out, platform.name, "hundredweight.node");
    mkdirSync(join(out, platform.name), { recursive: true });
    const bytes = build(platform, file, root, process.env);
    const { faults, facts } = checkBinary(platform, bytes);
    const result = { bytes: bytes.length, sha256: sha256(bytes), ...facts };
    if (options.twice) {
      const again = sha256(buildElsewhere(platform));
      result.again = again;
      if (again !== result.sha256) faults.push("differs from one build to the next");
    }
    results[platform.name] = result;
    const seconds = ((Date.now() - began) / 1000).toFixed(0);
    const detail = Object.entries(facts).map(([name, value]) => `${name} ${JSON.stringify(value)}`);
    console.log(`${platform.name}: ${(bytes.length / 1e6).toFixed(2)} MB, ${seconds} s, ${detail.join(", ")}`);
    console.log(`  sha256 ${result.sha256}${options.twice && faults.length === 0 ? ", the same twice" : ""}`);
    for (const fault of faults) console.error(`  WRONG: ${fault}`);
    failed += faults.length > 0 ? 1 : 0;
  } catch (error) {
    console.error(`${platform.name}: ${error.message}`);
    failed++;
  }
}
const list = join(out, "native.json");
const before = existsSync(list) ? JSON.parse(readFileSync(list, "utf8")) : {};
writeFileSync(list, `${JSON.stringify({ ...before, ...results }, null, 2)}\n`);
console.log(`${Object.keys(results).length} binaries, ${failed} with faults`);
process.exit(failed > 0 ? 1 : 0);
