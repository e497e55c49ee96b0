/** Jobs that end when one of several signals does. */

/** @returns what lets go of the signals: some of them outlive every job */
export function cancelOn(job: { cancel(): void }, signals: readonly AbortSignal[]): () => void {
  const cancel = (): void => job.cancel();
  for (const each of signals) {
    each.addEventListener("abort", cancel);
    if (each.aborted) cancel();
  }
  return () => {
    for (const each of signals) each.removeEventListener("abort", cancel);
  };
}
