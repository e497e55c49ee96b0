/** Token ids by llama.cpp (test/peer/tokenize.mjs), one process for a list of jobs. */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { packageRoot } from "../../src/package-root.js";
import { peerInstalled } from "./peer.js";

export interface TokenizeJob {
  readonly path: string;
  /** Overrides tokenizer.ggml.pre. */
  readonly pre?: string;
  /** Recognise control tokens. */
  readonly special: boolean;
  readonly texts: readonly string[];
  /** Also give the texts of the ids, control tokens shown. */
  readonly detokenize?: boolean;
  /** With `size`: also list the ids that end a generation. */
  readonly listEnd?: boolean;
  readonly size?: number;
}

export interface TokenizeResult {
  readonly ids: number[][];
  readonly texts?: string[];
  readonly end?: number[];
}

/** undefined when the peer is not installed: say so aloud. */
export function peerTokenize(jobs: readonly TokenizeJob[]): TokenizeResult[] | undefined {
  if (!peerInstalled()) {
    if (process.env.HUNDREDWEIGHT_REQUIRE_PEER === "1") throw new Error("the peer is required and not installed");
    return undefined;
  }
  const run = spawnSync(process.execPath, [join(packageRoot(), "test/peer/tokenize.mjs")], {
    cwd: join(packageRoot(), ".peer"),
    input: JSON.stringify({ jobs }),
    encoding: "utf8",
    maxBuffer: 2 ** 30,
  });
  if (run.status !== 0) throw new Error(`the peer ended with ${run.status ?? run.signal}: ${run.stderr.slice(-1000)}`);
  const last = run.stdout.trimEnd().split("\n").at(-1)!;
  const { results } = JSON.parse(last) as { results: (TokenizeResult & { error?: string })[] };
  results.forEach((result, i) => {
    if (result.error !== undefined) throw new Error(`${jobs[i]!.path} ${jobs[i]!.pre ?? ""}: ${result.error}`);
  });
  return results;
}
