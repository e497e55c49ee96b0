/** Whether a file is in the page cache: then mapping it costs nothing, and reading it past the cache is a waste. */
import { closeSync, readSync } from "node:fs";
import { openRegularSync } from "../regular-file.js";

const samples = 24;
const page = 4096;
/** A cached page takes a few microseconds with everything around it, the fastest disk fifty. */
const cachedMs = 0.03;

/**
 * Reads pages evenly spread over the extent; most of them at memory's pace: it is cached. What is read that way stays
 * in the cache, with what the system reads ahead: at most some megabytes.
 */
export function isCached(path: string, bytes: number, read: (fd: number, at: number) => number = timedRead): boolean {
  let fd: number;
  try {
    fd = openRegularSync(path);
  } catch {
    return false;
  }
  try {
    let fast = 0;
    // From the middle of each part: what lies at the beginning is the header, which was just read.
    for (let i = 0; i < samples; i++)
      if (read(fd, Math.floor((((i + 0.5) / samples) * bytes) / page) * page) <= cachedMs) fast++;
    return fast >= 0.9 * samples;
  } finally {
    closeSync(fd);
  }
}

const buffer = new Uint8Array(page);
function timedRead(fd: number, at: number): number {
  const began = performance.now();
  readSync(fd, buffer, 0, page, at);
  return performance.now() - began;
}
