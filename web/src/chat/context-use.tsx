/** How much of the context the conversation takes, as far as the last answer told. */
import type { JSX } from "preact";
import type { AnswerProgress, Message } from "../../../src/server/ui/wire.js";
import { percent } from "../format.js";

export interface ContextUseProps {
  readonly branch: readonly Message[];
  readonly progress: Readonly<Record<string, AnswerProgress>>;
  /** Tokens of the model's context; undefined while there is no model. */
  readonly contextTokens: number | undefined;
}

/** Beyond, an answer may be cut. */
const nearlyFull = 0.85;

export function ContextUse({ branch, progress, contextTokens }: ContextUseProps): JSX.Element | null {
  const used = tokensOf(branch, progress);
  if (used === undefined || contextTokens === undefined) return null;
  const share = used / contextTokens;
  const count = (tokens: number) => tokens.toLocaleString("en-US");
  const words = `${count(used)} of ${count(contextTokens)} tokens of context`;
  return (
    <span class="context-use faint" data-full={share > nearlyFull} title={words}>
      <meter aria-label="Context in use" aria-valuetext={words} max={1} value={Math.min(1, share)} />
      <span aria-hidden="true">{share < 0.01 ? "< 1 %" : percent(share)}</span>
    </span>
  );
}

/** Undefined until an answer of this branch has told. */
function tokensOf(branch: readonly Message[], progress: ContextUseProps["progress"]): number | undefined {
  const known = branch.findLast(({ stats }) => stats !== undefined)?.stats;
  const before = known === undefined ? undefined : known.promptTokens + known.generatedTokens;
  const now = progress[branch.at(-1)?.id ?? ""];
  if (branch.at(-1)?.state !== "running" || now === undefined) return before;
  if (now.phase === "prompt") return now.total;
  return now.phase === "answer" && before !== undefined ? before + now.tokens : before;
}
