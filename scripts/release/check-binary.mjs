// Holds a binary against what its platform allows: format, exports, imports, versions of symbols, libraries, signature.
//   node scripts/release/check-binary.mjs PLATFORM FILE
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import { readElf } from "./binary/elf.mjs";
import { readMachO } from "./binary/macho.mjs";
import { readPe } from "./binary/pe.mjs";
import { platformsNamed } from "./platforms.mjs";

const readers = { elf: readElf, macho: readMachO, pe: readPe };

/** Node-API of the oldest Node that package.json allows: 20.19 has version 9. */
const nodeApiVersion = 9;
const { symbols } = createRequire(import.meta.url)("node-api-headers");
const nodeApi = new Set(
  Object.entries(symbols)
    .filter(([version]) => Number(version.slice(1)) <= nodeApiVersion)
    .flatMap(([, each]) => [...each.js_native_api_symbols, ...each.node_api_symbols]),
);

/** The one that Node looks for, and the one by which it learns the version of Node-API; nothing else is offered. */
const entryPoints = new Set(["napi_register_module_v1", "node_api_module_get_api_version_v1"]);
/** What linkers of C runtimes add. */
const runtimeExports = /^(_?_mh_(bundle|dylib)_header|__dso_handle|_init|_fini|_edata|_end|__bss_start)$/;

/**
 * Operators new and delete, which zig's linker for macOS cannot hide: weak there, in every C++ library, and whoever's
 * are taken all of them are malloc's.
 */
const weakOperators = /^_Z(n[aw]|d[al]P)/;

const isNewer = (version, limit) => {
  const [a, b] = [version, limit].map((text) => text.split(".").map(Number));
  for (let i = 0; i < Math.max(a.length, b.length); i++)
    if ((a[i] ?? 0) !== (b[i] ?? 0)) return (a[i] ?? 0) > (b[i] ?? 0);
  return false;
};

/** { faults: string[], facts: { exports, nodeApi, imports, libraries, newest?, system?, signature? } } */
export function checkBinary(platform, bytes) {
  const read = readers[platform.format](bytes);
  const faults = [];
  const say = (holds, fault) => holds || faults.push(fault);
  say(read.machine === platform.machine, `is for ${read.machine}, not ${platform.machine}`);
  say(read.exports.includes("napi_register_module_v1"), "does not offer napi_register_module_v1");
  const isMacho = platform.format === "macho";
  const expected = (name) =>
    entryPoints.has(name) || runtimeExports.test(name) || (isMacho && weakOperators.test(name));
  const foreign = read.exports.filter((name) => !expected(name));
  say(foreign.length === 0, `offers ${foreign.length} more names: ${foreign.slice(0, 5).join(", ")}`);
  const wanted = read.imports.map(({ name }) => name).filter((name) => /^(napi|node_api)_/.test(name));
  const unknown = wanted.filter((name) => !nodeApi.has(name));
  // On Windows the addon finds Node-API in the process by itself, whatever the file of that is called.
  say(wanted.length > 0 || platform.format === "pe", "asks Node for nothing");
  say(unknown.length === 0, `asks for what Node-API ${nodeApiVersion} has not: ${unknown.join(", ")}`);
  const libraries = read.libraries.filter(
    (name) => !platform.libraries.test(name.replace(/^[A-Z].*/, (n) => n.toLowerCase())),
  );
  say(libraries.length === 0, `needs libraries that not every system has: ${libraries.join(", ")}`);
  say((read.paths ?? []).length === 0, `looks for libraries in ${read.paths?.join(", ")}`);
  // What no library is named for has to be in the process: C++ or the compiler's runtime would not be. Unwinding is the
  // system's own on macOS.
  const runtime = read.imports.filter(
    ({ name, weak }) =>
      !weak &&
      /^_?(_Z(?!TH)|__cxa_(?!finalize|atexit|thread_atexit)|_Unwind_|__gxx)/.test(name) &&
      !(isMacho && /^_?_Unwind_/.test(name)),
  );
  say(
    runtime.length === 0,
    `takes a C++ runtime from outside: ${runtime
      .slice(0, 5)
      .map(({ name }) => name)
      .join(", ")}`,
  );
  const facts = {
    exports: read.exports.length,
    nodeApi: wanted.length,
    imports: read.imports.length,
    libraries: read.libraries,
  };
  if (platform.newestSymbols !== undefined) facts.newest = checkVersions(platform, read, say);
  if (isMacho) checkMachO(platform, read, say, facts);
  if (platform.format === "pe") checkPe(read, wanted, say);
  return { faults, facts };
}

function checkVersions(platform, read, say) {
  const newest = {};
  for (const { name, version } of read.imports) {
    const [, family, number] = /^([A-Z_]+?)_([\d.]+)$/.exec(version ?? "") ?? [];
    if (family === undefined) {
      say(version === undefined, `asks for ${name} of the unknown version ${version}`);
      continue;
    }
    const limit = platform.newestSymbols[family];
    say(limit !== undefined && !isNewer(number, limit), `asks for ${name} of ${version}`);
    if (newest[family] === undefined || isNewer(number, newest[family])) newest[family] = number;
  }
  return newest;
}

function checkMachO(platform, read, say, facts) {
  say(read.kind !== "other", "is neither a bundle nor a library");
  say(!isNewer(read.system ?? "99", `${platform.newestSystem}`), `wants macOS ${read.system}`);
  facts.system = read.system;
  if (platform.signed) {
    say(read.signature?.adhoc === true, "has no ad-hoc signature");
    say(read.signature?.wrongPages === 0, `${read.signature?.wrongPages} pages are not what was signed`);
  }
  if (read.signature !== undefined) facts.signature = `${read.signature.pages} pages`;
}

function checkPe(read, wanted, say) {
  const isNode = ({ library }) => library.toLowerCase() === "node.exe";
  const elsewhere = read.imports.filter((each) => wanted.includes(each.name) && !isNode(each));
  say(elsewhere.length === 0, `looks for Node-API in ${elsewhere[0]?.library}`);
  // An import of node.exe that is not delayed fails where the program has another name: nothing can redirect it.
  const early = read.imports.filter((each) => isNode(each) && !each.delayed);
  say(early.length === 0, "needs a process whose file is called node.exe");
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const [name, file] = process.argv.slice(2);
  const [platform] = platformsNamed(name);
  const { faults, facts } = checkBinary(platform, readFileSync(file));
  console.log(`${name}: ${JSON.stringify(facts)}`);
  for (const fault of faults) console.error(`${name}: ${file} ${fault}`);
  process.exit(faults.length > 0 ? 1 : 0);
}
