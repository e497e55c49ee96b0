// Builds the native addon with the system's C++ compiler: no cmake, no node-gyp, no download (the Node-API headers are
// an npm package). Incremental: an object is rebuilt when a file it includes is newer or its flags changed.
//   node scripts/build-native.mjs            build/native/hundredweight.node
//     --tests                                also native/test and native/bench programs, into the same folder
//     --run                                  and runs the test programs
//     --sanitize=address,undefined | thread  into build/native-asan or build/native-tsan
//     --whole                                sanitizes the kernels of instruction sets, too (minutes of compiling);
//                                            --run tests all of their sweep instead of a part
//     --target=aarch64                       cross-compiles the tests only, into build/native-aarch64; --run uses qemu
//     --target PLATFORM-ARCH[-musl]          the addon for another system by zig (native-targets.mjs), into
//       --out FILE.node                      build/native-TARGET, copied to FILE.node; --tests: the test programs, too
//     --only=pool_test,io_test               these programs of native/test and not the addon
//     --addon                                the addon, too, where --only or --target=aarch64 leaves it out
//     --kernels                              only native/kernels and the programs that test it
//     --out=FOLDER  --jobs=N  --verbose
import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { basename, dirname, join, relative, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { reached } from "./native-closure.mjs";
import { findZig, isOfPlatform, targetNames, zigTarget } from "./native-targets.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
process.chdir(root);
const { values: options } = parseArgs({
  options: {
    tests: { type: "boolean", default: false },
    run: { type: "boolean", default: false },
    kernels: { type: "boolean", default: false },
    whole: { type: "boolean", default: false },
    addon: { type: "boolean", default: false },
    only: { type: "string" },
    verbose: { type: "boolean", default: false },
    sanitize: { type: "string", default: "" },
    target: { type: "string", default: "" },
    out: { type: "string" },
    jobs: { type: "string", default: "2" },
  },
});

function giveUp(reason) {
  console.warn(`hundredweight: native addon not built (${reason}); the slow TypeScript ops will run instead`);
  process.exit(0);
}
// On Windows zig is the compiler, as for any other target.
if (process.platform === "win32" && options.target === "") options.target = `win32-${process.arch}`;
const zig = /-/.test(options.target) ? findZig() : undefined;
const target = zig && zigTarget(options.target, zig);
if (/-/.test(options.target) && target === undefined) {
  if (options.target === `${process.platform}-${process.arch}` && zig === undefined)
    giveUp("no zig: pip install ziglang");
  console.error(
    zig
      ? `--target is one of ${targetNames.join(", ")}`
      : "--target needs zig: pip install ziglang, or HUNDREDWEIGHT_ZIG",
  );
  process.exit(2);
}
const platform = target?.platform ?? process.platform;
const cross =
  target === undefined && options.target !== "" && options.target !== process.arch.replace("arm64", "aarch64");
const cpu = target?.cpu ?? (options.target || process.arch.replace("arm64", "aarch64").replace("x64", "x86_64"));
const works = (compiler) => spawnSync(compiler, ["--version"], { stdio: "ignore" }).status === 0;
const candidates = cross
  ? [process.env.CXX_TARGET, `${options.target}-linux-gnu-g++`]
  : [process.env.CXX, "c++", "g++", "clang++"];
const [compiler, ...compilerArgs] = target?.compiler ?? [candidates.find((name) => name && works(name))];
if (!compiler) giveUp(`no C++ compiler: ${cross ? candidates[1] : "install g++ or clang++, or set CXX"}`);
const headers = join("node_modules", "node-api-headers", "include");
if ((!cross || options.addon) && !existsSync(headers))
  giveUp("the npm package node-api-headers is missing: run npm install");

const sanitizers = options.sanitize.split(",").filter(Boolean);
const suffix = sanitizers.includes("thread") ? "-tsan" : sanitizers.length > 0 ? "-asan" : cross ? `-${cpu}` : "";
const copyTo = target && options.out?.endsWith(".node") ? options.out : undefined;
const own = options.target === `${process.platform}-${process.arch}` && process.platform === "win32";
const out =
  copyTo === undefined && options.out !== undefined
    ? options.out
    : join("build", target && !own ? `native-${options.target}` : `native${suffix}`);
for (const folder of [out, join("build", "native")]) mkdirSync(join(folder, "obj"), { recursive: true });

const isaFlags = {
  avx2: ["-mavx2", "-mfma", "-mf16c", "-mbmi2"],
  avxvnni: ["-mavx2", "-mfma", "-mf16c", "-mbmi2", "-mavxvnni"],
  avx512: "-mavx2 -mfma -mf16c -mbmi2 -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vnni -mavx512vbmi".split(" "),
  // zig takes processors and no architectures.
  neon: [target ? "-mcpu=generic+v8_2a+dotprod+fullfp16" : "-march=armv8.2-a+dotprod+fp16"],
};
const isaCpu = { avx2: "x86_64", avxvnni: "x86_64", avx512: "x86_64", neon: "aarch64" };
const common = "-std=c++17 -O3 -fPIC -ffp-contract=off -fno-exceptions -fno-rtti -fvisibility=hidden -pthread".split(
  " ",
);
common.push(...(target?.flags ?? []));
common.push("-Wall", "-Wextra", "-Inative", `-I${headers}`, "-DNODE_GYP_MODULE_NAME=hundredweight");
const sanitize = ["-fno-omit-frame-pointer", "-g1", "-O1", `-fsanitize=${sanitizers.join(",")}`];
sanitize.push("-fno-sanitize-recover=all");
// GCC 11 and binutils 2.36 know AVX-VNNI; without them those CPUs run the AVX2 kernels.
const vnni = () =>
  spawnSync(compiler, ["-mavxvnni", "-x", "c++", "-c", "-", "-o", "/dev/null"], {
    input: '__asm__("{vex} vpdpbusd %ymm0, %ymm0, %ymm0");',
  });
if (cpu === "x86_64" && target === undefined && vnni().status !== 0) {
  isaCpu.avxvnni = "none";
  common.push("-DHW_NO_AVXVNNI");
}
const compilerId = [
  ...compilerArgs.slice(-2),
  spawnSync(compiler, [...compilerArgs, "--version"], { encoding: "utf8" }).stdout.split("\n")[0],
].join(" ");
const isClang = target !== undefined || /clang/i.test(compilerId);

function isaOf(source) {
  return /[\\/]isa[\\/]([^\\/]+)[\\/]/.exec(source)?.[1];
}

/**
 * The kernels of instruction sets and what quantizes are sanitized on request only. They take minutes to compile then,
 * they share nothing but their arguments, and kernel_test puts guard pages around all that kernels read and write.
 */
const isPure = (source) => isaOf(source) !== undefined || source.startsWith(join("native", "encode") + sep);
const isSanitized = (source) =>
  sanitizers.length > 0 && (!isPure(source) || (options.whole && !sanitizers.includes("thread")));

// GCC takes four times as long over the encoders with -O3, since it copies what loops and callers hold. Where a loop
// has to be unrolled its source says so. With AVX-512 sixteen lanes are one register: there copies pay where they are
// of loops with few steps. On Arm nothing was measured.
const encoders = join("native", "encode") + sep;
const unrolledForAvx512 = "-fpeel-loops -funswitch-loops -fipa-cp-clone -fvect-cost-model=dynamic".split(" ");
function encoderFlags(source) {
  if (isClang || cpu !== "x86_64" || !/^(portable|encode)\.cc$/.test(basename(source))) return [];
  if (!source.startsWith(encoders)) return [];
  return ["-O2", ...(isaOf(source) === "avx512" ? unrolledForAvx512 : [])];
}

// Half of what a sanitized unit takes is reading the C++ library's headers.
const precompiledSource = join("native", "precompiled.h");
const precompiled = sanitizers.length > 0 && !isClang ? precompiledPath() : undefined;
function precompiledPath() {
  const hash = createHash("sha1").update([compilerId, ...common, ...sanitize].join(" "));
  return join(out, "obj", `precompiled.${hash.update(readFileSync(precompiledSource)).digest("hex").slice(0, 10)}.h`);
}

/** GCC takes `precompiled.h.gch` instead of a header where the flags are those that it was made with. */
async function precompile() {
  if (precompiled === undefined || existsSync(`${precompiled}.gch`)) return true;
  copyFileSync(precompiledSource, precompiled);
  console.log(`  c++ ${precompiledSource}`);
  const flags = [...compilerArgs, ...common, ...sanitize];
  return produce(`${precompiled}.gch`, compiler, (to) => [...flags, "-x", "c++-header", precompiled, "-o", to]);
}

function flagsOf(source, sanitized) {
  const flags = [...common];
  const isa = isaOf(source);
  if (isa) flags.push(...isaFlags[isa]);
  flags.push(...encoderFlags(source));
  // What test programs compare is compiled elsewhere; they themselves run for seconds.
  if (source.startsWith(join("native", "test") + sep)) flags.push("-O1");
  if (sanitized) flags.push(...sanitize);
  // Compilers' caches ask for the second flag.
  if (sanitized && precompiled && !isPure(source) && !basename(source).startsWith("scalar"))
    flags.push("-include", precompiled, "-fpch-preprocess", "-Winvalid-pch");
  // GCC warns of its own x86 intrinsics headers (their "undefined" registers).
  if (isa && isaCpu[isa] === "x86_64" && !isClang) flags.push("-Wno-uninitialized", "-Wno-maybe-uninitialized");
  // GCC 12 for aarch64 crashes when it vectorizes float_test.cc.
  if (cross && programs.includes(source)) flags.push("-fno-tree-vectorize");
  // The scalar kernels are the reference: what the compiler makes of them should stay what is written.
  if (basename(source).startsWith("scalar")) flags.push(isClang ? "-fno-vectorize" : "-fno-tree-vectorize");
  return flags;
}

function listSources(folder) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true })
    .map((name) => join(folder, String(name)))
    .filter((name) => name.endsWith(".cc"))
    .filter((name) => isaOf(name) === undefined || isaCpu[isaOf(name)] === cpu)
    .filter((name) => isOfPlatform(name, platform))
    .sort();
}

const programFolders = ["test", "bench"].map((name) => join("native", name));
const fuzzFolder = join("native", "fuzz");
const isAddon = (name) => name.startsWith(join("native", "addon"));
const kernelPrograms = ["kernel_test", "float_test", "attention_test"];
const only = options.only?.split(",");
const withAddon = options.addon || (!cross && !options.kernels && only === undefined);
let sources = listSources(options.kernels ? join("native", "kernels") : "native")
  .filter((name) => ![...programFolders, fuzzFolder].some((folder) => name.startsWith(folder + sep)))
  .filter((name) => withAddon || !isAddon(name));
// Benchmarks are for the machine they are built on.
const testFolders = target ? programFolders.slice(0, 1) : programFolders;
const wantedFolders =
  only !== undefined || !withAddon ? programFolders.slice(0, 1) : options.tests || options.run ? testFolders : [];
const programs = wantedFolders
  .flatMap(listSources)
  .filter((name) => !options.kernels || kernelPrograms.includes(basename(name, ".cc")))
  .filter((name) => only?.includes(basename(name, ".cc")) ?? true);

function objectAs(source, sanitized) {
  const hash = createHash("sha1")
    .update([compilerId, ...flagsOf(source, sanitized)].join(" "))
    .digest("hex")
    .slice(0, 10);
  // What is not sanitized is the object of the ordinary build.
  const folder = sanitizers.length > 0 && !sanitized && options.out === undefined ? join("build", "native") : out;
  return join(folder, "obj", `${relative("native", source).split(sep).join("-").slice(0, -3)}.${hash}.o`);
}

const objectOf = (source) => objectAs(source, isSanitized(source));
const ordinaryObjectOf = (source) => objectAs(source, false);

function isFresh(object) {
  const depfile = object.replace(/o$/, "d");
  if (!existsSync(object) || !existsSync(depfile)) return false;
  const made = statSync(object).mtimeMs;
  const files = readFileSync(depfile, "utf8")
    .replace(/\\\n/g, " ")
    .replace(/^.*?:/, "")
    .split(/(?<!\\)\s+/)
    .filter(Boolean);
  return files.every((file) => existsSync(file) && statSync(file).mtimeMs < made);
}

function start(command, args) {
  if (options.verbose) console.log([command, ...args].join(" "));
  return new Promise((resolve) => {
    const child = spawn(command, args, { stdio: "inherit" });
    child.on("error", () => resolve(1));
    child.on("close", (code) => resolve(code ?? 1));
  });
}

// Written under another name and renamed: a build that runs beside this one, or a process that has the old file
// mapped, never sees half a file.
async function produce(target, command, argsFor) {
  const partial = `${target}.${process.pid}.tmp`;
  const code = await start(command, argsFor(partial));
  if (code === 0) renameSync(partial, target);
  else rmSync(partial, { force: true });
  return code === 0;
}

async function inParallel(items, run) {
  const queue = [...items];
  let ok = true;
  const worker = async () => {
    for (let item = queue.shift(); item !== undefined; item = queue.shift()) ok = (await run(item)) && ok;
  };
  await Promise.all(Array.from({ length: Math.max(1, Number(options.jobs) || 1) }, worker));
  return ok;
}

function compile(source) {
  const object = objectOf(source);
  if (isFresh(object)) return true;
  console.log(`  c++ ${source}`);
  const depfile = object.replace(/o$/, "d");
  return produce(object, compiler, (partial) => [
    ...compilerArgs,
    ...flagsOf(source, isSanitized(source)),
    "-MMD",
    "-MF",
    depfile,
    "-MT",
    "object",
    "-c",
    source,
    "-o",
    partial,
  ]);
}

// An inline function compiled for AVX-512 and merged by the linker into the scalar path would be an illegal
// instruction on older CPUs: an ISA object may export its fill function and nothing else.
function checkExports(object) {
  if (target && target.objects !== "elf") return true; // nm of other systems' objects is not to be had everywhere
  const nm = spawnSync(cross ? `${cpu}-linux-gnu-nm` : "nm", ["-g", "--defined-only", object], { encoding: "utf8" });
  if (nm.error || nm.status !== 0) return true;
  const symbols = nm.stdout.split("\n").filter((line) => /^\S* [A-Zuvw] /.test(line));
  if (symbols.length === 1) return true;
  console.error(`${object}: an ISA object must export one symbol, found:\n${symbols.join("\n")}`);
  return false;
}

// zig builds its C and C++ libraries with the flags of the link, minutes for each set: so programs have those of the
// addon. Without a level they would be slow and checked.
const linkFlags = [
  ...(target ? ["-O3", "-s"] : []),
  "-pthread",
  ...(sanitizers.length > 0 ? [`-fsanitize=${sanitizers.join(",")}`] : []),
];
const staticRuntime =
  target !== undefined ? [] : isClang || sanitizers.length > 0 ? [] : ["-static-libstdc++", "-static-libgcc"];

function linkAddon() {
  const addon = join(out, "hundredweight.node");
  const objects = sources.map(objectOf);
  if (existsSync(addon) && objects.every((o) => statSync(o).mtimeMs < statSync(addon).mtimeMs)) return true;
  const shared =
    target?.link ??
    (platform === "darwin" ? ["-bundle", "-undefined", "dynamic_lookup"] : ["-shared", "-Wl,--exclude-libs,ALL"]);
  const flags = [...compilerArgs, ...shared, ...linkFlags, ...staticRuntime];
  return produce(addon, compiler, (partial) => [...flags, ...objects, "-o", partial]);
}

function linkProgram(source) {
  const program = join(out, basename(source, ".cc") + (target?.exe ?? ""));
  const objects = [objectOf(source), ...sources.filter((name) => !isAddon(name)).map(objectOf)];
  if (existsSync(program) && objects.every((o) => statSync(o).mtimeMs < statSync(program).mtimeMs)) return true;
  const fixed = cross ? ["-static"] : staticRuntime; // one file that runs under an emulator
  const flags = [...compilerArgs, ...linkFlags, ...fixed];
  return produce(program, compiler, (partial) => [...flags, ...objects, "-o", partial]);
}

/**
 * zig compiles its C++ library one file at a time when something is linked for a target for the first time, which takes
 * as long as our sources do: it does so beside them.
 */
async function warmLibraries() {
  const addon = join(out, "hundredweight.node");
  if (target === undefined || existsSync(addon)) return;
  const source = join(out, "obj", "nothing.cc");
  writeFileSync(source, "");
  const library = join(out, "obj", "nothing.node");
  await start(compiler, [...compilerArgs, ...target.link, ...linkFlags, source, "-o", library]);
}

/** Sources that sanitized programs are made of, where the ordinary build has been made and tells. */
function neededSources() {
  const [roots, others] = [programs, sources].map((list) => list.map(ordinaryObjectOf));
  const found = [...roots, ...others].every(isFresh) ? reached(roots, others) : undefined;
  return found === undefined ? sources : sources.filter((source) => found.has(ordinaryObjectOf(source)));
}
if (sanitizers.length > 0 && !withAddon) sources = neededSources();

let ok = await precompile();
if (ok) [ok] = await Promise.all([inParallel([...sources, ...programs], compile), warmLibraries()]);
if (sanitizers.length === 0) ok = sources.filter(isaOf).map(objectOf).filter(existsSync).every(checkExports) && ok;
if (ok && withAddon) ok = await linkAddon();
if (ok && copyTo !== undefined) {
  mkdirSync(dirname(copyTo), { recursive: true });
  copyFileSync(join(out, "hundredweight.node"), copyTo);
}
if (ok) ok = await inParallel(programs, linkProgram);
// The oldest server core with the instructions isa/neon may use, so that a newer one does not slip in.
const cores = { aarch64: "neoverse-n1" };
const emulator = cross ? ([`qemu-${cpu}`, `qemu-${cpu}-static`].find(works) ?? `qemu-${cpu}`) : "";
const emulate = cross ? [emulator, ...(cores[cpu] ? ["-cpu", cores[cpu]] : [])] : [];
for (const source of ok ? programs.filter((name) => dirname(name) === programFolders[0]) : []) {
  const program = basename(source, ".cc");
  const sweep = options.whole && kernelPrograms.includes(program) ? ["--whole"] : [];
  const [command, ...args] = [...emulate, join(out, program), ...sweep];
  if (options.run || cross) console.log(`  ${options.run ? "run" : "run with:"} ${[command, ...args].join(" ")}`);
  if (options.run) ok = (await start(command, args)) === 0 && ok;
}
if (ok) console.log(`native ${withAddon ? "addon" : "test programs"} ready in ${out} (${compilerId})`);
process.exit(ok ? 0 : 1);
