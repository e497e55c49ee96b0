/** The lines that are asked. They are read twice, so what comes through a pipe is kept in a file that has no name. */

import { randomUUID } from "node:crypto";
import { closeSync, openSync, rmSync, writeSync } from "node:fs";
import { Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { addAbortSignal, type Readable } from "node:stream";
import type { BatchInput } from "../../batch/job-queue.js";
import { lineAt, readLines } from "../../batch/lines.js";
import type { Place } from "../../batch/places.js";
import { maxLineBytes } from "../../batch/request.js";
import { fileError, HundredweightError } from "../../errors.js";
import { nonBlocking } from "../../regular-file.js";

/** A pipe is read to its end first. @throws FILE_NOT_FOUND, FILE_IO, CANCELLED */
export async function openInput({ name, path, found }: Place, signal: AbortSignal): Promise<BatchInput> {
  const fd = path === undefined ? undefined : openForReading(path);
  const kept = fd !== undefined && found?.isFile() ? { fd, end: () => {} } : await keep(name, sourceOf(fd), signal);
  return {
    name,
    lines: () => readLines(kept.fd, name, maxLineBytes),
    lineAt: (number, start, bytes) => lineAt(kept.fd, name, number, start, bytes),
    close: () => {
      closeSync(kept.fd);
      kept.end();
    },
  };
}

function openForReading(path: string): number {
  try {
    return openSync(path, nonBlocking);
  } catch (error) {
    throw fileError(path, error);
  }
}

/** A socket waits for whoever writes into the pipe, without holding a thread. */
const sourceOf = (fd: number | undefined): Readable =>
  fd === undefined ? process.stdin : new Socket({ fd, readable: true, writable: false });

async function keep(name: string, source: Readable, signal: AbortSignal): Promise<{ fd: number; end: () => void }> {
  const path = join(tmpdir(), `hundredweight-batch-${randomUUID()}.jsonl`);
  const remove = (): void => rmSync(path, { force: true });
  const fd = storing(() => openSync(path, "wx+", 0o600));
  // Windows removes no open file.
  const early = process.platform !== "win32";
  if (early) remove();
  try {
    addAbortSignal(signal, source);
    for await (const chunk of source as AsyncIterable<Buffer>)
      storing(() => {
        for (let at = 0; at < chunk.length; ) at += writeSync(fd, chunk, at);
      });
  } catch (error) {
    closeSync(fd);
    if (!early) remove();
    if (signal.aborted) throw new HundredweightError("CANCELLED", "stopped by the caller");
    throw error instanceof HundredweightError ? error : fileError(name, error);
  }
  return { fd, end: early ? () => {} : remove };

  function storing<T>(act: () => T): T {
    try {
      return act();
    } catch (error) {
      const why = (error as Error).message;
      throw new HundredweightError(
        "FILE_IO",
        `${name} cannot be kept in ${tmpdir()}: ${why} (TMPDIR names another folder)`,
      );
    }
  }
}
