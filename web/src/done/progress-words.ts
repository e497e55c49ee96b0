/** The progress of an answer in a few words, for the title of a tab. Pure. */
import type { AnswerProgress } from "../../../src/server/ui/wire.js";
import { percent, plural } from "../format.js";

export function shortProgress(progress: AnswerProgress | undefined): string {
  if (progress === undefined) return "waiting";
  if (progress.phase === "answer") return plural(progress.tokens, "token");
  if (progress.phase === "queued") return progress.ahead === 0 ? "next" : `${progress.ahead} ahead`;
  return percent(progress.total === 0 ? 0 : progress.done / progress.total);
}
