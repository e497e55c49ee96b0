/**
 * Where the past of a prompt is worth keeping, for models whose states cannot go back: where a message begins (the
 * end of system prompt and tools first of all, then the last turns, where the next prompt will differ), every few
 * thousand tokens between, and in front of the last token, where the same prompt asked again begins.
 */

/** Turns whose beginnings are kept, from the end. */
const lastTurns = 3;
/** Tokens between checkpoints of long prompts. */
const leastApart = 2048;
const mostApart = 8192;
/** Below this, evaluating a prompt again costs little. */
const leastPrompt = 16;

export interface PromptShape {
  readonly tokens: Int32Array;
  readonly promptTokens: number;
  /** Whether a token is one that only templates write: messages begin with such. */
  isControl(token: number): boolean;
  /** How many there is room for. */
  readonly checkpoints: number;
}

/** Positions in ascending order, each in [1, promptTokens). */
export function checkpointsOf({ tokens, promptTokens, isControl, checkpoints }: PromptShape): number[] {
  if (promptTokens < leastPrompt) return [];
  const turns: number[] = [];
  for (let p = 1; p < promptTokens; p++) if (isControl(tokens[p]!) && !isControl(tokens[p - 1]!)) turns.push(p);
  const found = new Set([...turns.slice(0, 1), ...turns.slice(-lastTurns), promptTokens - 1]);
  const apart = Math.min(mostApart, Math.max(leastApart, Math.ceil(promptTokens / Math.max(1, checkpoints))));
  for (let p = apart; p < promptTokens; p += apart) found.add(p);
  return [...found].sort((a, b) => a - b);
}
