/** Shows how much of the context a conversation takes, and what can be done when it is nearly full. */
import type { JSX } from "preact";
import type { Message, ModelCard } from "../../../src/server/ui/wire.js";
import { count, percent } from "../format.js";
import { leaveOutUpTo } from "./context-size.js";
import { change, goOnInNew } from "./open.js";

export interface ContextUseProps {
  /** Undefined until an answer of the branch told. */
  readonly used: number | undefined;
  /** Tokens of the model's context; undefined while there is no model. */
  readonly contextTokens: number | undefined;
}

/** Beyond, an answer may be cut. */
const nearlyFull = 0.8;

export function ContextUse({ used, contextTokens }: ContextUseProps): JSX.Element | null {
  if (used === undefined || contextTokens === undefined) return null;
  const share = used / contextTokens;
  const words = `${count(used)} of ${count(contextTokens)} tokens of context`;
  return (
    <span class="context-use faint" data-full={share > nearlyFull} title={words}>
      <meter aria-label="Context in use" aria-valuetext={words} max={1} value={Math.min(1, share)} />
      <span aria-hidden="true">{share < 0.01 ? "< 1 %" : percent(share)}</span>
    </span>
  );
}

export interface ContextAdviceProps {
  readonly used: number | undefined;
  readonly branch: readonly Message[];
  readonly seenFrom: string | undefined;
  readonly model: ModelCard | undefined;
}

/** A line above the composer, from where the context is nearly full. */
export function ContextAdvice({ used, branch, seenFrom, model }: ContextAdviceProps): JSX.Element | null {
  const last = branch.at(-1);
  if (model === undefined || used === undefined || last === undefined) return null;
  const { contextTokens, trainedContextTokens } = model;
  if (used < nearlyFull * contextTokens && last.cut !== "context") return null;
  const leaveOut = leaveOutUpTo(branch, seenFrom, contextTokens);
  const more = Math.min(2 * contextTokens, trainedContextTokens);
  const left = Math.max(0, contextTokens - used);
  return (
    <p class="line warn" role="status">
      <span>
        {left < 1 ? "No token is" : `About ${count(left)} tokens are`} left of {count(contextTokens)}.
      </span>
      {last.state !== "running" && (
        <>
          {leaveOut !== undefined && (
            <button type="button" class="button small" onClick={() => void change({ seenFrom: leaveOut })}>
              Leave out the oldest messages
            </button>
          )}
          <button type="button" class="button small" onClick={() => void goOnInNew(last.id)}>
            Go on in a new conversation
          </button>
        </>
      )}
      {more > contextTokens && (
        <span class="faint">
          <code>--ctx {more}</code> gives more.
        </span>
      )}
    </p>
  );
}
