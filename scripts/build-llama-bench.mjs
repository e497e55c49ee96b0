// Builds llama-bench, llama.cpp's own benchmark, from the source that the npm package node-llama-cpp carries as a git
// bundle, with flags for this processor. bench/vs-llama-cpp compares with it: the package's own library is built for
// every processor and is reached through a binding whose time counts against it.
//   node scripts/build-llama-bench.mjs [--target llama-quantize] [--folder DIR] [--jobs N] [--refresh]
// Other targets of its build can be named: bench/quantize-speed compares with llama-quantize, and what llama-perplexity
// says of a file is compared with `quality`.
// Default folder: .peer/llama.cpp, which git ignores. Prints the path of the program.
// Exit code 0: it is there. 3: cmake, git or the package is missing; the message says which. 1: the build failed.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const root = fileURLToPath(new URL("..", import.meta.url));
const packageFolder = join(root, ".peer/node_modules/node-llama-cpp");
const { values } = parseArgs({
  options: {
    target: { type: "string", default: "llama-bench" },
    folder: { type: "string", default: join(root, ".peer/llama.cpp") },
    jobs: { type: "string", default: String(availableParallelism()) },
    refresh: { type: "boolean", default: false },
  },
});
const folder = resolve(values.folder);
const source = join(folder, "source");
const build = join(folder, "build");
const program = join(build, "bin", process.platform === "win32" ? `${values.target}.exe` : values.target);

function missing(what) {
  console.error(`build-llama-bench: ${what}`);
  process.exit(3);
}
const has = (command) => spawnSync(command, ["--version"], { stdio: "ignore" }).status === 0;

/** What it prints is of interest only when it fails. */
function run(command, args) {
  const { status, stdout, stderr } = spawnSync(command, args, { encoding: "utf8", maxBuffer: 2 ** 28 });
  if (status === 0) return;
  console.error(`build-llama-bench: ${command} ${args.join(" ")} failed\n${`${stdout}${stderr}`.slice(-4000)}`);
  process.exit(1);
}

/**
 * GCC before 12.4 and 13.3 takes the stores of a tile configuration for dead (its bug 114098), and the first
 * instruction on a tile is illegal then. A barrier keeps them; other compilers do not notice it.
 */
function keepTileConfig(file) {
  const load = "_tile_loadconfig(&tc);";
  const text = readFileSync(file, "utf8");
  if (!text.includes(load)) {
    console.error(`build-llama-bench: ${file} has changed: no ${load}`);
    process.exit(1);
  }
  writeFileSync(file, text.replace(load, `__asm__ volatile("" : : "r"(&tc) : "memory");\n    ${load}`));
}

const bundle = join(packageFolder, "llama/gitRelease.bundle");
if (!existsSync(bundle)) missing("llama.cpp is not installed: node scripts/fetch-peer.mjs");
for (const command of ["git", "cmake"]) if (!has(command)) missing(`${command} is not installed`);
const { version } = JSON.parse(readFileSync(join(packageFolder, "package.json"), "utf8"));
const { tag } = JSON.parse(readFileSync(join(packageFolder, "llama/llama.cpp.info.json"), "utf8"));
const stamp = join(folder, "version.json");
const wanted = JSON.stringify({ package: `node-llama-cpp@${version}`, tag });

if (values.refresh || !existsSync(stamp) || readFileSync(stamp, "utf8") !== wanted) {
  rmSync(source, { recursive: true, force: true });
  rmSync(build, { recursive: true, force: true });
}
if (!existsSync(source)) {
  mkdirSync(folder, { recursive: true });
  run("git", ["clone", "--quiet", "-c", "advice.detachedHead=false", bundle, source]);
  keepTileConfig(join(source, "ggml/src/ggml-cpu/amx/mmq.cpp"));
  writeFileSync(stamp, wanted);
}
if (!existsSync(program)) {
  const generator = has("ninja") ? ["-G", "Ninja"] : [];
  const off = ["BUILD_SHARED_LIBS", "LLAMA_BUILD_TESTS", "LLAMA_BUILD_EXAMPLES", "LLAMA_BUILD_SERVER"];
  // Nothing but the benchmark: no page, no downloads over TLS.
  off.push("LLAMA_BUILD_APP", "LLAMA_BUILD_UI", "LLAMA_USE_PREBUILT_UI", "LLAMA_OPENSSL");
  const settings = [...off.map((name) => `-D${name}=OFF`), "-DGGML_NATIVE=ON", "-DCMAKE_BUILD_TYPE=Release"];
  run("cmake", ["-S", source, "-B", build, ...generator, ...settings]);
  run("cmake", ["--build", build, "--config", "Release", "--target", values.target, "--parallel", values.jobs]);
}
if (!existsSync(program)) {
  console.error(`build-llama-bench: the build ended without ${program}`);
  process.exit(1);
}
console.log(program);
