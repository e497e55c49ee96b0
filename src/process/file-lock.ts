/**
 * A lock that processes of one machine share, held by the system for an open file: whoever is killed holds nothing any
 * more, and nobody has to guess whether a lock was left behind.
 */
import { constants } from "node:fs";
import { type FileHandle, mkdir, open } from "node:fs/promises";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { HundredweightError } from "../errors.js";
import { loadAddon } from "../native/addon.js";

/** Never waits, also where the name is a pipe's. */
const lockFlags = constants.O_RDWR | constants.O_CREAT | (constants.O_NONBLOCK ?? 0);
/** Milliseconds between two looks: soon at first, most holders need some milliseconds. */
const firstWaitMs = 2;
const longestWaitMs = 50;

/**
 * Runs `work` while no other holder of the lock runs. The file is made where it is missing and stays: one that is
 * removed could be locked by two. Where a file system has no locks, or the addon cannot be used, `work` runs without.
 * @throws FILE_IO when it cannot be had within `patienceMs`; what `work` throws
 */
export async function withFileLock<T>(path: string, patienceMs: number, work: () => Promise<T>): Promise<T> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const file = await open(path, lockFlags, 0o600);
  try {
    const end = performance.now() + patienceMs;
    for (let wait = firstWaitMs; !tryLock(file.fd); wait = Math.min(2 * wait, longestWaitMs)) {
      if (performance.now() > end)
        throw new HundredweightError("FILE_IO", `${path}: another process has held it for ${patienceMs / 1000} s`);
      // Not in step with others that wait.
      await sleep(wait * (0.5 + Math.random()));
    }
    return await work();
  } finally {
    await file.close();
  }
}

/**
 * Takes a lock for as long as this process lives, or until the file that is returned is closed.
 * @returns undefined where another process has it @throws what opening the file throws
 */
export async function holdFileLock(path: string): Promise<FileHandle | undefined> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const file = await open(path, lockFlags, 0o600);
  if (tryLock(file.fd)) return file;
  await file.close();
  return undefined;
}

function tryLock(descriptor: number): boolean {
  try {
    return loadAddon()?.lockFile(descriptor) !== 0;
  } catch {
    return true; // that the addon cannot be used is the engine's to complain of
  }
}
