import type { FileHandle } from "node:fs/promises";

/** Writes all of the bytes: the system may take some of them at a time.  @throws what the system says */
export async function writeAll(file: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    done += (await file.write(bytes, done, bytes.length - done, position + done)).bytesWritten;
  }
}
