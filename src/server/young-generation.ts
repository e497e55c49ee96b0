/**
 * Bounds the young generation of this process's main thread. Under load V8 lets it grow to twice 16 MiB, and more while it is
 * collected: memory that is the model's. A server's garbage dies young and needs a quarter of it. `--max-semi-space-size` is heard
 * only before the heap exists, when `npx` or a service manager has the say; the factor by which the young generation grows is looked
 * at in every collection, and with 1 it stays as it is.
 */
import { getHeapSpaceStatistics, setFlagsFromString } from "node:v8";

/** Both halves. */
const mostBytes = 8 * 2 ** 20;

let factor = 2; // V8's own

/** No growth until `boundYoungGeneration` is called: for what happens before requests come, like loading a program. */
export function holdYoungGeneration(): void {
  growBy(1);
}

/** To be called again and again while there is garbage; takes 1 microsecond. A collection doubles the size at most. */
export function boundYoungGeneration(): void {
  const { space_size: bytes } = getHeapSpaceStatistics().find(({ space_name: name }) => name === "new_space")!;
  growBy(bytes < mostBytes ? 2 : 1);
}

function growBy(wanted: number): void {
  if (wanted === factor) return;
  factor = wanted;
  setFlagsFromString(`--semi-space-growth-factor=${factor}`);
}
