// Builds, then runs every test file of dist with node:test. Node 20 knows no globs, so the list is made here.
//   node scripts/test.mjs [--no-build] [substring ...]   only files whose path contains a substring
//   --ran FILE     writes the names of tests that ran there, for scripts/check-coverage.mjs
//   --sweeps       the long sweeps as a whole, of which an ordinary run takes a part (npm run test:sweeps)
import { spawnSync } from "node:child_process";
import { setMaxListeners } from "node:events";
import { createWriteStream, existsSync, readdirSync, statSync } from "node:fs";
import { availableParallelism } from "node:os";
import { basename, join, relative, sep } from "node:path";
import { PassThrough, Readable } from "node:stream";
import { run } from "node:test";
import { spec as Spec, tap } from "node:test/reporters";
import { fileURLToPath } from "node:url";
import ran from "./lib-ran-reporter.mjs";

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

// The longest files first: the last of a run ends soon after the others. Two that compile for a sanitizer would wait
// for each other.
const longFiles = [
  ...["native/programs", "property/invariance", "differential/models.", "native/neon", "fuzz/fuzz", "model/smollm2"],
  ...["differential/synth", "page/waiting", "page/link", "contract/ops", "page/accessible", "property/streamed"],
  ...["words/words", "property/frozen", "differential/encoders", "fleet.", "fleet-faults", "differential/tokenizer"],
  ...["batch-files", "store/pull-kill", "page/chat", "cli-plan-synth", "lifecycle", "lint.", "page/", "link/watchdog"],
  ...["model/", "server/"],
];
function placeOf(name) {
  const path = name.split(sep).join("/");
  const at = longFiles.findIndex((long) => path.includes(`/${long}`));
  return at < 0 ? longFiles.length : at;
}

const files = ["dist/src", "dist/test"]
  .filter((folder) => existsSync(folder))
  .flatMap((folder) => readdirSync(folder, { recursive: true }).map((name) => join(folder, String(name))))
  .filter((name) => name.endsWith(".test.js"))
  .filter((name) => existsSync(name.replace(/^dist./, "").replace(/\.js$/, ".ts"))) // no stale output
  .filter((name) => filters.length === 0 || filters.some((f) => name.split(sep).join("/").includes(f)))
  .sort()
  .sort((one, other) => placeOf(one) - placeOf(other));
if (files.length === 0) {
  console.error("no test files found");
  process.exit(1);
}
// Plans of guessed rates are the same on every machine; the user's cache is neither read nor written.
const { env } = process;
env.HUNDREDWEIGHT_PROBE ??= "off";
env.HUNDREDWEIGHT_PREFIX_STORE ??= "off";
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

// A file that hangs is a failure with a name, and the files after it run. The longest compiles native programs three
// times: 285 s beside two others.
const seconds = env.HUNDREDWEIGHT_SWEEPS === "whole" ? 7200 : 600;
// Tests of servers, disks and browsers wait a fifth of their time: one more file than processors keeps those busy.
const concurrency = Math.min(3, availableParallelism() + 1);
// Who ends this process ends the files that run.
const stop = new AbortController();
setMaxListeners(0, stop.signal); // each file is one
for (const signal of ["SIGINT", "SIGTERM"])
  process.once(signal, () => {
    process.exitCode = signal === "SIGINT" ? 130 : 143;
    stop.abort();
  });
const events = run({
  files: files.map((name) => join(root, name)),
  concurrency,
  timeout: seconds * 1000,
  signal: stop.signal,
});

const [shown, told] = [new PassThrough({ objectMode: true }), new PassThrough({ objectMode: true })];
const tty = process.stdout.isTTY === true;
const output = tty ? shown.pipe(new Spec()) : Readable.from(tap(shown));
output.pipe(process.stdout);
if (ranFile !== undefined) Readable.from(ran(told)).pipe(createWriteStream(ranFile));
else told.resume();

/** Tests that have begun and not ended, and how long each file took. */
const open = new Map();
const took = [];
const hung = [];
const failed = [];
for await (const event of events) {
  shown.write(event);
  told.write(event);
  const { type, data } = event;
  const file = data.file && relative(root, data.file);
  const isFile = data.name === data.file;
  if (type === "test:dequeue" && !isFile) open.set(file, [...(open.get(file) ?? []), data.name]);
  else if (type === "test:complete" && !isFile) {
    const names = open.get(file) ?? [];
    const at = names.lastIndexOf(data.name);
    if (at >= 0) names.splice(at, 1);
  } else if (type === "test:complete" && isFile) took.push([data.details.duration_ms / 1000, file]);
  else if (type === "test:fail" && data.todo === undefined) {
    process.exitCode ??= 1;
    if (data.details.type !== "suite") failed.push(`${file}: ${isFile ? "the file" : data.name}`);
    if (isFile && data.details.error?.failureType === "testTimeoutFailure") hung.push(file);
  }
}
shown.end();
told.end();
await new Promise((resolve) => output.on("end", resolve));
const longest = took.sort(([one], [other]) => other - one).slice(0, 10);
console.log(
  `# longest: ${longest.map(([time, file]) => `${basename(file, ".test.js")} ${time.toFixed(0)} s`).join(", ")}`,
);
for (const each of failed) console.log(`# failed: ${each}`);
for (const file of hung)
  console.log(`# ${file} did not end within ${seconds} s; what ran then: ${(open.get(file) ?? []).join(" > ")}`);
