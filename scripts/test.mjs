// Builds, then runs every test file of dist with node:test. Node 20 knows no globs, so the list is made here.
//   node scripts/test.mjs [--no-build] [substring ...]   only files whose path contains a substring
//   --ran FILE     writes the names of tests that ran there, for scripts/check-coverage.mjs
//   --sweeps       the long sweeps as a whole, of which an ordinary run takes a part (npm run test:sweeps)
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, statSync } from "node:fs";
import { join, sep } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
process.chdir(root);
const args = process.argv.slice(2);
const ranAt = args.indexOf("--ran");
const [, ranFile] = ranAt < 0 ? [] : args.splice(ranAt, 2);
const filters = args.filter((a) => !a.startsWith("--"));

if (!args.includes("--no-build")) {
  const built = spawnSync("npm", ["run", "--silent", "build"], {
    stdio: "inherit",
    shell: process.platform === "win32",
  });
  if (built.status !== 0) process.exit(built.status ?? 1);
}

const files = ["dist/src", "dist/test"]
  .filter((folder) => existsSync(folder))
  .flatMap((folder) => readdirSync(folder, { recursive: true }).map((name) => join(folder, String(name))))
  .filter((name) => name.endsWith(".test.js"))
  .filter((name) => existsSync(name.replace(/^dist./, "").replace(/\.js$/, ".ts"))) // no stale output
  .filter((name) => filters.length === 0 || filters.some((f) => name.split(sep).join("/").includes(f)))
  .sort();
if (files.length === 0) {
  console.error("no test files found");
  process.exit(1);
}
// Plans of guessed rates are the same on every machine; the user's cache is neither read nor written.
const env = { HUNDREDWEIGHT_PROBE: "off", HUNDREDWEIGHT_PREFIX_STORE: "off", ...process.env };
if (args.includes("--sweeps")) env.HUNDREDWEIGHT_SWEEPS = "whole";
// What tests start as processes is what is shipped: a program of few files is there in half of the time. Without a
// build it may be older than what was compiled since.
const programs = join(root, "dist/app");
const newest = (folder) =>
  Math.max(...readdirSync(folder, { recursive: true }).map((name) => statSync(join(folder, String(name))).mtimeMs));
if (env.HUNDREDWEIGHT_PROGRAMS === undefined) {
  if (existsSync(programs) && newest(programs) >= newest("dist/src")) env.HUNDREDWEIGHT_PROGRAMS = programs;
  else console.log("dist/app is older than dist/src: tests start the programs of dist/src");
}
// A file that hangs is a failure with a name, and the files after it run.
const limits = ["--test-concurrency=2", `--test-timeout=${env.HUNDREDWEIGHT_SWEEPS === "whole" ? 7_200_000 : 900_000}`];
const reporters =
  ranFile === undefined
    ? []
    : [
        ...[`--test-reporter=${process.stdout.isTTY ? "spec" : "tap"}`, "--test-reporter-destination=stdout"],
        ...["--test-reporter=./scripts/lib-ran-reporter.mjs", `--test-reporter-destination=${ranFile}`],
      ];
const run = spawnSync(process.execPath, ["--test", ...limits, ...reporters, ...files], { stdio: "inherit", env });
process.exit(run.status ?? 1);
