/** Reads an input once, before anything is answered: what it asks, what of it cannot be asked, and how it is cut. */
import { createHash } from "node:crypto";
import { beginningOf, Cut } from "./cut.js";
import type { BatchInput } from "./job-queue.js";
import { usualMaxTokens } from "./line-answer.js";
import { LineIndex } from "./line-index.js";
import { estimateTokens, readRequest } from "./request.js";

export interface Survey {
  readonly index: LineIndex;
  readonly cut: Cut;
  readonly lastLine: number;
  /** Hash of all that is asked. */
  readonly digest: string;
}

/** @throws OPTION_INVALID for more lines than can be kept track of */
export async function readAll(input: BatchInput, maxTokens: number, signal: AbortSignal): Promise<Survey> {
  const index = new LineIndex();
  const cut = new Cut();
  const digest = createHash("sha256");
  let lastLine = 0;
  for await (const line of input.lines()) {
    signal.throwIfAborted();
    lastLine = line.number;
    const { request, hash } = readRequest(line);
    digest.update(`${line.number} `).update(hash);
    const known = "url" in request;
    index.add(line.number, request.customId, hash, known ? estimateTokens(request, maxTokens) : undefined);
    // Shards are the same whatever a machine's options are.
    if (known && index.earlierThan(line.number, request.customId) === undefined)
      cut.add(line, beginningOf(request), estimateTokens(request, usualMaxTokens));
  }
  return { index, cut, lastLine, digest: digest.digest("hex") };
}
