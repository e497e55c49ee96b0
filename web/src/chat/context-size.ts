/** How many tokens a branch takes of the context, as far as its answers told. Pure. */
import type { AnswerProgress, Message } from "../../../src/server/ui/wire.js";

/** Tokens up to the end of an answer, counted from the first message that its model saw. */
const endOf = ({ stats }: Message): number | undefined =>
  stats === undefined ? undefined : stats.promptTokens + stats.generatedTokens;

/** Tokens of the branch before a message; undefined where nobody knows. */
function tokensBefore(branch: readonly Message[], id: string | undefined): number | undefined {
  const at = id === undefined ? 0 : branch.findIndex((message) => message.id === id);
  if (at <= 0) return 0;
  return endOf(branch[at - 1]!);
}

/** Tokens that the model sees of a branch; undefined until an answer of it told. */
export function tokensOf(
  branch: readonly Message[],
  progress: Readonly<Record<string, AnswerProgress>>,
  seenFrom: string | undefined,
): number | undefined {
  const last = branch.at(-1);
  const now = progress[last?.id ?? ""];
  if (last?.state === "running" && now !== undefined) {
    if (now.phase === "prompt") return now.total;
    if (now.phase === "answer") return now.promptTokens + now.tokens;
  }
  const told = branch.findLast(({ stats }) => stats !== undefined);
  const end = told === undefined ? undefined : endOf(told);
  if (end === undefined || told!.seenFrom === seenFrom) return end;
  const [before, left] = [tokensBefore(branch, told!.seenFrom), tokensBefore(branch, seenFrom)];
  return before === undefined || left === undefined ? end : Math.max(0, end + before - left);
}

/**
 * The message from which on the model should see, so that half of the context is free again, or as much as leaving out
 * whole turns gives; undefined where there is nothing to leave out.
 */
export function leaveOutUpTo(
  branch: readonly Message[],
  seenFrom: string | undefined,
  contextTokens: number,
): string | undefined {
  const begin =
    seenFrom === undefined
      ? 0
      : Math.max(
          0,
          branch.findIndex(({ id }) => id === seenFrom),
        );
  const later = branch.slice(begin + 1).filter(({ role }) => role === "user");
  const fits = later.find(({ id }) => (tokensOf(branch, {}, id) ?? 0) <= contextTokens / 2);
  return (fits ?? later.at(-1))?.id;
}
