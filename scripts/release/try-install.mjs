// Installs the packages as a person would on a machine without a compiler, without install scripts, without npm's cache
// and without a network, and asks for an answer: from the archives, and through a registry on this machine.
//   node scripts/release/try-install.mjs [--packages build/release/packages] [--json FILE]
// In a network namespace of its own where the system allows one; else registries are addresses that nobody answers at.
import { spawn, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { folderBytes } from "./archive.mjs";
import { root } from "./platforms.mjs";
import { openRegistry } from "./registry.mjs";

const { values: options } = parseArgs({
  options: {
    packages: { type: "string", default: join(root, "build/release/packages") },
    json: { type: "string" },
    isolated: { type: "boolean", default: false },
  },
});
const self = fileURLToPath(import.meta.url);
const isolate = ["-n", "sh", "-c", 'ip link set lo up 2>/dev/null || ifconfig lo up; exec "$@"', "sh"];
if (!options.isolated && spawnSync("unshare", [...isolate, "true"]).status === 0) {
  const again = [process.execPath, self, ...process.argv.slice(2), "--isolated"];
  process.exit(spawnSync("unshare", [...isolate, ...again], { stdio: "inherit" }).status ?? 1);
}
console.log(options.isolated ? "network: a namespace with nothing but 127.0.0.1" : "network: NOT hidden, but unused");

const prompt = "And the king said";
const packages = resolve(options.packages);
const archives = readdirSync(packages)
  .filter((name) => name.endsWith(".tgz"))
  .map((name) => join(packages, name));
const program = archives.find((name) => /hundredweight-\d/.test(name));
const platform = archives.find((name) => name.includes(`hundredweight-${process.platform}-${process.arch}-`));
if (program === undefined || platform === undefined)
  throw new Error(`no packages in ${packages}: packages.mjs makes them`);

const work = mkdtempSync(join(tmpdir(), "hundredweight-install-"));
// A PATH of Node, npm and a shell: no compiler, no Python, no make.
const bin = join(work, "bin");
mkdirSync(bin);
symlinkSync(process.execPath, join(bin, "node"));
const find = (name) => spawnSync("sh", ["-c", `command -v ${name}`], { encoding: "utf8" }).stdout.trim();
for (const name of ["npm", "npx", "sh"]) symlinkSync(find(name), join(bin, name));

const environment = (more) => ({
  PATH: bin,
  HOME: work,
  npm_config_cache: join(work, `cache-${Object.keys(more).length}-${Date.now()}`),
  npm_config_update_notifier: "false",
  npm_config_audit: "false",
  npm_config_fund: "false",
  npm_config_ignore_scripts: "true",
  npm_config_fetch_retries: "0",
  ...more,
});

function run(command, args, cwd, env) {
  const began = process.hrtime.bigint();
  return new Promise((done) => {
    const child = spawn(join(bin, command), args, { cwd, env, stdio: ["ignore", "pipe", "pipe"] });
    let [stdout, stderr] = ["", ""];
    child.stdout.setEncoding("utf8").on("data", (text) => (stdout += text));
    child.stderr.setEncoding("utf8").on("data", (text) => (stderr += text));
    child.on("close", (status) =>
      done({ status, stdout, stderr, seconds: Number(process.hrtime.bigint() - began) / 1e9 }),
    );
  });
}

function expect(result, what) {
  if (result.status === 0) return result;
  throw new Error(`${what} ended with ${result.status}:\n${result.stderr}\n${result.stdout}`);
}

/** The addon answers, not the slow TypeScript: it would warn. */
function answered({ stdout, stderr }) {
  if (/addon is not used/.test(stderr)) throw new Error(stderr);
  const { text, tokens } = JSON.parse(stdout);
  if (tokens.length < 8 || text.trim() === "") throw new Error(`no answer: ${stdout}`);
  return text.trim().split("\n")[0];
}

const ask = ["run", prompt, "-n", "16", "--temperature", "0", "--json"];
const figures = {};
let registry;
try {
  const noCompiler = ["c++", "g++", "gcc", "clang", "cc", "make", "python3"].filter((name) => {
    return spawnSync("sh", ["-c", `command -v ${name}`], { env: { PATH: bin } }).status === 0;
  });
  if (noCompiler.length > 0) throw new Error(`${noCompiler.join(", ")} can be found`);

  const folder = join(work, "from archives");
  mkdirSync(folder);
  writeFileSync(join(folder, "package.json"), '{"private":true}\n');
  const nobody = environment({ npm_config_registry: "http://127.0.0.1:9/" });
  const installed = expect(await run("npm", ["install", program, platform], folder, nobody), "npm install");
  const answer = expect(
    await run("npx", ["--no-install", "hundredweight", ...ask], folder, nobody),
    "the first answer",
  );
  figures.archives = {
    installSeconds: installed.seconds,
    answerSeconds: answer.seconds,
    archiveBytes: statSync(program).size + statSync(platform).size,
    installedBytes: folderBytes(join(folder, "node_modules")),
    packages: readdirSync(join(folder, "node_modules")).filter((name) => !name.startsWith(".")),
    text: answered(answer),
  };

  registry = await openRegistry(archives);
  const empty = join(work, "empty folder");
  mkdirSync(empty);
  const local = environment({ npm_config_registry: registry.address, npm_config_yes: "true" });
  const first = expect(await run("npx", ["hundredweight", ...ask], empty, local), "npx hundredweight");
  const second = expect(await run("npx", ["hundredweight", ...ask], empty, local), "npx hundredweight again");
  figures.npx = {
    firstSeconds: first.seconds,
    nextSeconds: second.seconds,
    text: answered(first),
    notHere: registry.asked,
  };
  if (figures.npx.text !== figures.archives.text) throw new Error("two installations answer differently");
  // Types are found, and lead nowhere else.
  const types = join(folder, "node_modules/hundredweight/dist/src/index.d.ts");
  if (!statSync(types).isFile()) throw new Error("no types");
} finally {
  registry?.close();
  rmSync(work, { recursive: true, force: true });
}
const { archives: a, npx } = figures;
const MB = (bytes) => (bytes / 1e6).toFixed(1);
console.log(
  `from archives: ${MB(a.archiveBytes)} MB of archives, ${MB(a.installedBytes)} MB installed ` +
    `in ${a.installSeconds.toFixed(1)} s`,
);
console.log(`  first answer after ${a.answerSeconds.toFixed(1)} s: ${JSON.stringify(a.text)}`);
console.log(`npx hundredweight run: ${npx.firstSeconds.toFixed(1)} s, then ${npx.nextSeconds.toFixed(1)} s`);
if (npx.notHere.length > 0) console.log(`  asked for and not there: ${[...new Set(npx.notHere)].join(", ")}`);
if (options.json !== undefined) {
  mkdirSync(dirname(resolve(options.json)), { recursive: true });
  writeFileSync(resolve(options.json), `${JSON.stringify(figures, null, 2)}\n`);
}
