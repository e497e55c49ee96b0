/** Builds of the native sources for tests: one at a time, however many test files ask for the same one. */
import { spawnSync } from "node:child_process";
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { isAbsolute, join } from "node:path";
import { packageRoot } from "../../src/package-root.js";

export const compiler = [process.env.CXX, "c++", "g++", "clang++"].find(
  (name) => name && spawnSync(name, ["--version"], { stdio: "ignore" }).status === 0,
);

/** Why programs cannot be built with these sanitizers and run here; undefined when they can. */
export function sanitizerMissing(sanitizers: string): string | undefined {
  if (compiler === undefined) return "no C++ compiler";
  const folder = mkdtempSync(join(tmpdir(), "hundredweight-sanitizer-"));
  try {
    const source = join(folder, "probe.cc");
    const program = join(folder, "probe");
    writeFileSync(source, "int main() { return 0; }\n");
    const built = spawnSync(compiler, [`-fsanitize=${sanitizers}`, source, "-o", program], { encoding: "utf8" });
    if (built.status !== 0) return `${compiler} cannot link -fsanitize=${sanitizers}`;
    const run = spawnSync(program, { encoding: "utf8" });
    return run.status === 0
      ? undefined
      : `-fsanitize=${sanitizers} does not run here: ${run.stderr.trim().split("\n")[0]}`;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The address sanitizer's library, which a program that loads a sanitized addon has to load first. */
export function addressSanitizerLibrary(): string | undefined {
  if (compiler === undefined) return undefined;
  const found = spawnSync(compiler, ["-print-file-name=libasan.so"], { encoding: "utf8" }).stdout.trim();
  return isAbsolute(found) && existsSync(found) ? found : undefined;
}

/** Runs scripts/build-native.mjs.  @throws Error with what the compiler said */
export function buildNative(args: readonly string[]): void {
  const root = packageRoot();
  const unlock = lock(join(root, "build", "native-tests.lock"));
  try {
    const built = spawnSync(process.execPath, [join(root, "scripts", "build-native.mjs"), ...args], {
      cwd: root,
      encoding: "utf8",
      maxBuffer: 2 ** 28,
    });
    if (built.status !== 0)
      throw new Error(`build-native ${args.join(" ")}:\n${built.stdout}${built.stderr}`.slice(-8000));
  } finally {
    unlock();
  }
}

/** Waits for other processes; a lock whose process is gone is taken over. */
function lock(path: string): () => void {
  mkdirSync(join(path, ".."), { recursive: true });
  const sleeper = new Int32Array(new SharedArrayBuffer(4));
  for (;;) {
    try {
      const file = openSync(path, "wx");
      writeSync(file, String(process.pid));
      closeSync(file);
      return () => rmSync(path, { force: true });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    }
    Atomics.wait(sleeper, 0, 0, 300);
    if (!ownerLives(path)) rmSync(path, { force: true });
  }
}

function ownerLives(path: string): boolean {
  try {
    process.kill(Number(readFileSync(path, "utf8")) || process.pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}
