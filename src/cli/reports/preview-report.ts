/** The plan of a model that is about to be fetched, a few lines. */

import { nameOf } from "../../store/local/types.js";
import type { Preview } from "../../store/pull/preview-types.js";
import type { RemoteModel } from "../../store/pull/source.js";
import { formatBytes, formatRate } from "../terminal/output.js";

/** `org/name:Q4_K_M: 18.5 GiB; on this machine 3.4 s a token ...`, then what else there is. */
export function previewLines(model: RemoteModel, plans: readonly Preview[]): string[] {
  const [own, ...others] = plans;
  const name = nameOf(model);
  const shards = model.files.length === 1 ? "" : ` in ${model.files.length} files`;
  if (own === undefined) return [`${name}: ${formatBytes(model.bytes)}${shards}`];
  const lines = [`${name}: ${formatBytes(own.bytes)}${shards}; ${sentence(own)}`];
  for (const other of others) lines.push(`  ${other.tag}: ${formatBytes(other.bytes)}; ${sentence(other)}`);
  if (plans.some(({ guessed, strategy }) => guessed && strategy !== undefined))
    lines.push("  rates of this machine are guessed; `hundredweight doctor --probe` measures them");
  return lines;
}

function sentence({ fault, strategy, secondsPerToken, ...plan }: Preview): string {
  if (fault !== undefined) return `cannot be run: ${fault.message}`;
  const budget = `in ${formatBytes(plan.budgetBytes)} of memory`;
  if (strategy === undefined || secondsPerToken === undefined)
    return `does not run ${budget}: it needs at least ${formatBytes(plan.minimumBudgetBytes ?? 0)}`;
  const whole = plan.wholeFromBytes === undefined ? "" : `; fits whole from ${formatBytes(plan.wholeFromBytes)}`;
  const rate = formatRate(secondsPerToken);
  return `on this machine ${rate}, ${strategy === "resident" ? `all of it ${budget}` : `streamed ${budget}${whole}`}`;
}
