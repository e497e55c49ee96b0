/** The readers of binaries that a release is judged by: right about good files, and about files that are not. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import { gunzipSync } from "node:zlib";
import { addonStatus } from "../../src/native/addon.js";
import { prebuiltPlatforms } from "../../src/native/prebuilt.js";
import { packageRoot } from "../../src/package-root.js";

const root = packageRoot();
const script = (name: string) => import(pathToFileURL(join(root, "scripts/release", name)).href);
const { readElf } = await script("binary/elf.mjs");
const { readPe } = await script("binary/pe.mjs");
const { readMachO } = await script("binary/macho.mjs");
const { checkBinary } = await script("check-binary.mjs");
const { platforms } = await script("platforms.mjs");

const golden = (name: string) => readFileSync(join(root, "test/golden/binaries", name));
const dll = golden("tiny-win32-x64.dll");
const dylib = gunzipSync(golden("tiny-darwin-arm64.dylib.gz"));
const platform = (name: string) => platforms.find((each: { name: string }) => each.name === name);

const isElf = process.platform === "linux" && addonStatus().state === "loaded";
const elfTest = { skip: isElf ? false : "no ELF file was built here" };

test("the loader and the release know the same platforms", () => {
  assert.deepEqual(platforms.map(({ name }: { name: string }) => name).sort(), [...prebuiltPlatforms].sort());
});

test("ELF: what nm says of the addon", elfTest, (t) => {
  const path = addonStatus().path!;
  const nm = spawnSync("nm", ["-D", path], { encoding: "utf8" });
  if (nm.status !== 0) return t.skip("no nm");
  const lines = nm.stdout.split("\n").map((line) => /([A-Za-z]) (\S+)$/.exec(line) ?? []);
  const named = (wanted: RegExp) => lines.filter(([, kind]) => wanted.test(kind ?? "")).map(([, , name]) => name!);
  const read = readElf(readFileSync(path));
  const imports = read.imports.map(({ name, version }: { name: string; version?: string }) =>
    version === undefined ? name : `${name}@${version}`,
  );
  assert.deepEqual(imports.sort(), named(/^[Uwv]$/).sort());
  assert.deepEqual(
    read.exports,
    named(/^[A-TV-Zu]$/)
      .map((name) => name.replace(/@.*/, ""))
      .sort(),
  );
  assert.ok(read.libraries.includes("libc.so.6"));
  assert.equal(read.machine, process.arch === "x64" ? "x86_64" : "aarch64");
});

test("PE: imports with their library, exports", () => {
  const { machine, exports, imports, libraries } = readPe(dll);
  assert.deepEqual(
    { machine, exports, imports, libraries },
    {
      machine: "x86_64",
      exports: ["napi_register_module_v1"],
      imports: [{ name: "napi_create_object", library: "node.exe", delayed: false }],
      libraries: ["node.exe"],
    },
  );
  // Only a process of that name could load it.
  assert.deepEqual(checkBinary(platform("win32-x64"), dll).faults, ["needs a process whose file is called node.exe"]);
});

test("Mach-O: a good file has no fault, and its signature covers every byte", () => {
  const { faults, facts } = checkBinary(platform("darwin-arm64"), dylib);
  assert.deepEqual(faults, []);
  assert.deepEqual([facts.system, facts.nodeApi, facts.signature], ["11.0", 1, "4 pages"]);
  const changed = Buffer.from(dylib);
  changed[dylib.indexOf("napi_create_object")]! ^= 1;
  const after = checkBinary(platform("darwin-arm64"), changed).faults;
  assert.ok(after.includes("1 pages are not what was signed"), after.join());
  assert.ok(after.some((fault: string) => fault.startsWith("is for aarch64")) === false);
  assert.deepEqual(checkBinary(platform("darwin-x64"), dylib).faults, ["is for aarch64, not x86_64"]);
});

test("faults are named: too new a symbol, a library, an export, another processor", elfTest, () => {
  const bytes = readFileSync(addonStatus().path!);
  const here = platform(`${process.platform}-${process.arch}`);
  const faults = (changes: object) => checkBinary({ ...here, ...changes }, bytes).faults.join("\n");
  assert.match(faults({ newestSymbols: { GLIBC: "2.2.4" } }), /asks for \S+ of GLIBC_2/);
  assert.match(faults({ newestSymbols: {} }), /asks for \S+ of GLIBC_/);
  assert.match(faults({ libraries: /^nothing$/ }), /needs libraries that not every system has: lib/);
  assert.match(faults({ machine: "riscv" }), /is for \S+, not riscv/);
  assert.doesNotMatch(faults({ newestSymbols: { GLIBC: "9.9" } }), /asks for|has not/);
});

test("files that are none of these are refused", () => {
  for (const read of [readElf, readPe, readMachO]) assert.throws(() => read(Buffer.alloc(4096)), /no .*file/);
});
