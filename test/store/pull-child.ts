/** A process that fetches in small parts, to be killed: `pull-child WORD`. Says on stdout when something has come. */
import { pull } from "../../src/store/pull/pull.js";

let first: number | undefined;
let told = false;
await pull(process.argv[2]!, {
  signal: new AbortController().signal,
  noPlan: true,
  partBytes: 2 ** 18,
  onProgress: ({ doneBytes }) => {
    first ??= doneBytes;
    if (!told && doneBytes > first) process.stdout.write("begun\n");
    told ||= doneBytes > first;
  },
});
