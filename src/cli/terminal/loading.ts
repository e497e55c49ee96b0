/** `loading 310 of 977 MiB`, where a terminal is and a model takes longer than a moment. */
import { type LoadOptions, load, type Model } from "../../library/model.js";
import { addonStatus } from "../../native/addon.js";
import { Progress } from "./progress.js";

/** Smaller ones are there at once. */
const delayMs = 500;

/** Loads a model and shows how far that is. @throws what loading throws */
export function loadShown(path: string, options: LoadOptions, forced: boolean | undefined): Promise<Model> {
  const opened = whileLoading(forced, (onLoading) => load(path, { ...options, onLoading }));
  if (options.ops !== "reference") setImmediate(checkKernels);
  return opened;
}

/**
 * Kernels are checked once a process, some 20 ms, by whoever comes first. This thread has nothing else to do while the
 * engine's reads the file.
 */
function checkKernels(): void {
  try {
    addonStatus();
  } catch {} // the engine says so
}

export async function whileLoading<T>(
  forced: boolean | undefined,
  work: (onLoading: (loadedBytes: number, totalBytes: number) => void) => Promise<T>,
): Promise<T> {
  const progress = new Progress("loading", { forced, delayMs, bytes: true });
  try {
    return await work((loadedBytes, totalBytes) => {
      if (totalBytes > 0) progress.update(loadedBytes, totalBytes);
    });
  } finally {
    progress.end();
  }
}
