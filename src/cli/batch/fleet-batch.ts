/** `batch --queue`: a batch whose lines are answered by machines behind a queue. */
import { createHash, randomUUID } from "node:crypto";
import { realpathSync } from "node:fs";
import { hostname } from "node:os";
import type { Cut } from "../../batch/cut.js";
import type { OpenBatch } from "../../batch/job-queue.js";
import { usualMaxTokens } from "../../batch/line-answer.js";
import type { Place } from "../../batch/places.js";
import { openCheckpoint } from "../../containers/index.js";
import { HundredweightError } from "../../errors.js";
import { parseQueueUrl } from "../../fleet/queue-url.js";
import { connectQueue } from "../../fleet/redis.js";
import { FleetQueue } from "../../fleet/submit.js";
import { describeModel } from "../../models/index.js";
import { loadOptions } from "../options/model-options.js";
import { note, tell } from "../terminal/output.js";
import { TokenProgress } from "../terminal/token-progress.js";
import type { EngineFlags } from "./local-queue.js";
import { modelMark } from "./model-mark.js";
import { needsOf, usualContext } from "./shape.js";

export interface FleetFlags extends EngineFlags {
  queue?: string | true;
  priority?: number;
  cancel?: boolean;
}

/** The middle of 1 to 9. */
const usualPriority = 5;

/**
 * @param digest of all that the input asks
 * @throws OPTION_INVALID, NETWORK_FAILED, QUEUE_REFUSED; FILE_IO of the output
 */
export async function answerByFleet(
  batch: OpenBatch,
  { cut, digest, path, to }: { readonly cut: Cut; readonly digest: string; readonly path: string; readonly to: Place },
  flags: FleetFlags,
): Promise<{ readonly machines: number }> {
  const address = parseQueueUrl(flags.queue ?? true);
  const needs = needsOf(batch.index);
  const mark = await modelMark(path, loadOptions(flags));
  const trained = describeModel(await openCheckpoint(path)).config.contextTokens;
  const contextTokens = flags.ctx ?? Math.min(trained, Math.max(usualContext, needs.longestTokens));
  const settings = { seed: flags.seed ?? 0, maxTokens: flags.maxTokens ?? usualMaxTokens };
  const output = to.path === undefined ? randomUUID() : realpathSync(to.path);
  const identity = JSON.stringify([digest, output, { ...mark, model: "" }, contextTokens, settings]);
  const id = createHash("sha256").update(identity).digest("hex").slice(0, 24);
  const connection = await connectQueue(address, { note });
  const fleet = new FleetQueue({
    connection,
    run: { id, mark, contextTokens, ...needs, priority: flags.priority ?? usualPriority, host: hostname() },
    settings,
    cut,
    note,
    ...(flags.cancel && { cancel: true }),
  });
  const { totals, left } = batch;
  const progress = new TokenProgress(
    "",
    () => {
      const { length } = fleet.view.machines;
      const tokens = Math.max(totals.generatedTokens, fleet.view.tokens);
      const expected = totals.done === 0 ? undefined : (totals.generatedTokens / totals.done) * left;
      return {
        done: totals.done,
        total: left,
        tokens,
        facts: [length === 1 ? "1 machine" : `${length} machines`],
        ...(expected !== undefined && { tokensLeft: Math.max(0, expected - tokens) }),
      };
    },
    { forced: flags.progress },
  );
  try {
    await fleet.answerAll(batch);
    if (batch.signal.aborted && fleet.bundles > 0)
      note(
        `${fleet.bundles} bundles stay with the queue; the same command takes their answers, with --cancel it takes ` +
          "them back",
      );
    if (flags.cancel && !batch.signal.aborted) tell("cancelled; what was answered is in the output");
    return { machines: fleet.view.machines.length };
  } finally {
    progress.end();
    connection.close();
  }
}

/** @throws OPTION_INVALID for options that want one another, or exclude each other */
export function checkFleetFlags({ queue, priority, cancel }: FleetFlags, shard: unknown): void {
  if (queue === undefined && (priority !== undefined || cancel))
    throw new HundredweightError("OPTION_INVALID", "--priority and --cancel are of a batch with --queue");
  if (queue !== undefined && shard !== undefined)
    throw new HundredweightError("OPTION_INVALID", "--queue gives lines to machines, so does --shard: choose one");
}
