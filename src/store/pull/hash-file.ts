/** The hash of a file that lies here. */
import { createHash } from "node:crypto";
import { openRegular } from "../../regular-file.js";
import { cancelled } from "./persist.js";
import type { RemoteFile } from "./remote-file.js";

const blockBytes = 4 * 2 ** 20;

/** True when a file has the hash that is announced of `remote`. @throws FILE_IO, CANCELLED */
export async function hasHash(path: string, remote: RemoteFile, signal: AbortSignal): Promise<boolean> {
  const { sha256, gitSha1, bytes } = remote;
  const expected = sha256 ?? gitSha1;
  if (expected === undefined) return false;
  const hash = sha256 === undefined ? createHash("sha1").update(`blob ${bytes}\0`) : createHash("sha256");
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
