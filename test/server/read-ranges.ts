import { closeSync, openSync, readSync } from "node:fs";
import type { Extent } from "../../src/formats/index.js";

export function* readRanges({ file, offset, bytes }: Extent): Generator<Uint8Array> {
  const buffer = new Uint8Array(bytes);
  const handle = openSync(file, "r");
  try {
    readSync(handle, buffer, 0, bytes, offset);
  } finally {
    closeSync(handle);
  }
  yield buffer;
}
