/** The hash of a file that lies here. */
import { createHash, type Hash } from "node:crypto";
import { openRegular } from "../../regular-file.js";
import { cancelled } from "./persist.js";
import type { RemoteFile } from "./remote-file.js";

const blockBytes = 4 * 2 ** 20;

/** The hash that is announced of a file, and what makes it; undefined where none is announced. */
export function announcedHash({ sha256, gitSha1, bytes }: RemoteFile): { hash: Hash; expected: string } | undefined {
  if (sha256 !== undefined) return { hash: createHash("sha256"), expected: sha256 };
  // Git's hash is of a header and the bytes.
  if (gitSha1 !== undefined) return { hash: createHash("sha1").update(`blob ${bytes}\0`), expected: gitSha1 };
  return undefined;
}

/** True when a file has the hash that is announced of `remote`. @throws FILE_IO, CANCELLED */
export async function hasHash(path: string, remote: RemoteFile, signal: AbortSignal): Promise<boolean> {
  const announced = announcedHash(remote);
  if (announced === undefined) return false;
  const { hash, expected } = announced;
  const file = await openRegular(path);
  try {
    const block = Buffer.allocUnsafe(blockBytes);
    for (;;) {
      if (signal.aborted) throw cancelled(signal);
      const { bytesRead } = await file.read(block, 0, blockBytes, null);
      if (bytesRead === 0) break;
      hash.update(block.subarray(0, bytesRead));
    }
  } finally {
    await file.close();
  }
  return hash.digest("hex") === expected;
}
