/** Renaming over a file, which on Windows fails for as long as somebody has it open, a scanner for instance. */
import { mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { rename } from "node:fs/promises";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

/** Errors by which Windows refuses a file that is in use; elsewhere they are answers for good. */
const inUse = new Set(process.platform === "win32" ? ["EPERM", "EACCES", "EBUSY"] : []);
/** Milliseconds: the sum of the waits is under 2 s. */
const waitsMs = [10, 20, 50, 100, 200, 500, 1000];

const mayPass = (error: unknown): boolean => inUse.has((error as NodeJS.ErrnoException).code ?? "");

/** As `fs.rename`, that waits for others. @throws what it throws */
export async function replaceFile(from: string, to: string): Promise<void> {
  for (const wait of waitsMs) {
    try {
      return await rename(from, to);
    } catch (error) {
      if (!mayPass(error)) throw error;
      await sleep(wait);
    }
  }
  await rename(from, to);
}

/** The same, and the thread waits. @throws what `fs.renameSync` throws */
export function replaceFileSync(from: string, to: string): void {
  for (const wait of waitsMs) {
    try {
      renameSync(from, to);
      return;
    } catch (error) {
      if (!mayPass(error)) throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, wait);
    }
  }
  renameSync(from, to);
}

/**
 * Writes a text file, and its folder where there is none: what was there stays until all of the new one is.
 * @throws what node:fs throws; then nothing is left behind
 */
export function writeWholeSync(path: string, text: string): void {
  const partial = `${path}.${process.pid}.tmp`;
  mkdirSync(dirname(path), { recursive: true });
  try {
    writeFileSync(partial, text);
    replaceFileSync(partial, path);
  } catch (error) {
    rmSync(partial, { force: true });
    throw error;
  }
}
