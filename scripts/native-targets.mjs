// Systems the addon is built for from any machine, by zig (PyPI ziglang, 0.17), which brings their C libraries.
//   HUNDREDWEIGHT_ZIG     its path; else `zig` of the PATH; else `python3 -m ziglang`
import { spawnSync } from "node:child_process";

/** By Node's names of platform and processor. glibc 2.28 is that of the oldest Linux Node 20 runs on. */
const triples = {
  "linux-x64": "x86_64-linux-gnu.2.28",
  "linux-arm64": "aarch64-linux-gnu.2.28",
  "linux-x64-musl": "x86_64-linux-musl",
  "linux-arm64-musl": "aarch64-linux-musl",
  "win32-x64": "x86_64-windows-gnu",
  "win32-arm64": "aarch64-windows-gnu",
  "darwin-x64": "x86_64-macos.11.0",
  "darwin-arm64": "aarch64-macos.11.0",
};
export const targetNames = Object.keys(triples);

const suffixes = {
  linux: ["posix", "linux"],
  darwin: ["posix", "macos"],
  win32: ["windows"],
};

/** True for sources of this system: `io/file_windows.cc` is no other system's. */
export function isOfPlatform(source, platform) {
  const suffix = /_(posix|linux|macos|windows)\.cc$/.exec(source)?.[1];
  return suffix === undefined || (suffixes[platform] ?? ["posix", "linux"]).includes(suffix);
}

/** As a command and its first arguments; undefined when there is none. */
export function findZig() {
  const candidates = [
    ...(process.env.HUNDREDWEIGHT_ZIG ? [[process.env.HUNDREDWEIGHT_ZIG]] : []),
    ["zig"],
    ["python3", "-m", "ziglang"],
    ["python", "-m", "ziglang"],
  ];
  return candidates.find(([command, ...args]) => {
    const found = spawnSync(command, [...args, "version"], { encoding: "utf8" });
    return found.status === 0 && /^\d+\.\d+/.test(found.stdout);
  });
}

/**
 * How a target is compiled and linked.
 * @returns undefined for a name that is none of `targetNames`
 */
export function zigTarget(name, zig) {
  const triple = triples[name];
  if (triple === undefined) return undefined;
  const [platform, arch] = name.split("-");
  const windows = platform === "win32";
  const link = {
    linux: ["-shared"],
    // zig 0.17 crashes on -bundle.
    darwin: ["-dynamiclib", "-undefined", "dynamic_lookup"],
    win32: ["-shared"],
  };
  return {
    platform,
    cpu: arch === "arm64" ? "aarch64" : "x86_64",
    compiler: [...zig, "c++", "-target", triple],
    // __FILE__ names no folder of this machine; Node-API is found in the host (native/addon/host_windows.cc).
    flags: [`-ffile-prefix-map=${process.cwd()}=.`, ...(windows ? ["-DBUILDING_NODE_EXTENSION"] : [])],
    link: link[platform],
    exe: windows ? ".exe" : "",
    objects: windows ? "coff" : platform === "darwin" ? "macho" : "elf",
  };
}
