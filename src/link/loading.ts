/** How far the opening of a model is, seen from a thread beside the one that it blocks. */

const everyMs = 200;

/** Sees what has been read as memory of this process that filled. @returns stops looking */
export function watchLoading(totalBytes: number, tell: (loadedBytes: number, totalBytes: number) => void): () => void {
  const before = process.memoryUsage.rss();
  const timer = setInterval(() => {
    tell(Math.max(0, Math.min(totalBytes, process.memoryUsage.rss() - before)), totalBytes);
  }, everyMs);
  timer.unref();
  return () => clearInterval(timer);
}
