/** Whether a file still has room on its disk, before anything is written. */
import { statfs } from "node:fs/promises";
import { dirname } from "node:path";
import { HundredweightError } from "../errors.js";

/** Header and padding come to a few megabytes; a disk as full as that should not be written to. */
const headerRoom = 64 * 2 ** 20;

/**
 * @param bytes of the tensors that are still to be written
 * @throws FILE_IO naming what is needed and what is free
 */
export async function checkRoom(path: string, bytes: number): Promise<void> {
  const found = await statfs(dirname(path)).catch((cause: NodeJS.ErrnoException) => {
    throw new HundredweightError("FILE_IO", `${dirname(path)}: ${cause.message}`, { code: cause.code }, { cause });
  });
  const neededBytes = bytes + headerRoom;
  const freeBytes = found.bavail * found.bsize;
  // Devices such as /dev/null take anything.
  if (freeBytes >= neededBytes || path.startsWith("/dev/")) return;
  const gb = (value: number) => `${(value / 1e9).toFixed(2)} GB`;
  throw new HundredweightError(
    "FILE_IO",
    `${path}: the model needs ${gb(neededBytes)}, the disk has ${gb(freeBytes)} free; nothing was written`,
    { neededBytes, freeBytes },
  );
}
