/**
 * A conversation as `--session` and /save keep it beside its tokens: what was said, and where an answer that was cut
 * can go on.
 */
import type { ChatMessage, ReplyCall } from "../../chat/index.js";
import { HundredweightError } from "../../errors.js";
import { isObject } from "../../json-object.js";
import type { GenerationResult } from "../../library/generation.js";
import type { SamplerState } from "../../sampling/chain.js";
import type { Turn } from "./turns.js";

export interface SavedChat {
  /** No template was applied. */
  readonly raw: boolean;
  readonly system?: string | undefined;
  readonly turns: readonly Turn[];
  /** Calls of the last answer whose results are not given yet. */
  readonly calls: readonly ReplyCall[];
  /** The last answer ended at its length: its tokens, at the end of all, and the sampler behind them. */
  readonly cut?: { readonly tokens: number; readonly sampler: SamplerState } | undefined;
}

/** Another one is another form. */
const version = 1;

export const savedText = (chat: SavedChat): string => JSON.stringify({ conversation: version, ...chat });

/** @throws SESSION_MISFIT for a file that keeps something else */
export function readSaved(path: string, about: string, raw: boolean): SavedChat {
  let saved: unknown;
  try {
    saved = JSON.parse(about);
  } catch {
    saved = undefined;
  }
  if (!isObject(saved) || saved.conversation === undefined)
    throw new HundredweightError("SESSION_MISFIT", `${path}: it keeps a text and no conversation; use run --raw`);
  const { turns, calls, system, cut } = saved;
  const sound =
    saved.conversation === version &&
    typeof saved.raw === "boolean" &&
    (system === undefined || typeof system === "string") &&
    Array.isArray(turns) &&
    turns.every(isTurn) &&
    Array.isArray(calls) &&
    calls.every(isCall) &&
    (cut === undefined || (isObject(cut) && Number.isSafeInteger(cut.tokens) && isObject(cut.sampler)));
  if (!sound) throw new HundredweightError("FORMAT_INVALID", `${path}: its conversation cannot be read`, { path });
  if (saved.raw !== raw)
    throw new HundredweightError(
      "SESSION_MISFIT",
      `${path}: this conversation was held ${raw ? "with a chat template; leave out --raw" : "with --raw"}`,
    );
  // What a tool's turn lacks in JSON was undefined.
  const whole = (turns as Turn[]).map(({ user, steps, answer, tokens }) => ({ user, steps, answer, tokens }));
  return { ...(saved as unknown as SavedChat), turns: whole };
}

function isTurn(value: unknown): boolean {
  if (!isObject(value)) return false;
  const { user, steps, answer, tokens } = value;
  return (
    typeof user === "string" &&
    (answer === undefined || typeof answer === "string") &&
    (tokens === undefined || (Number.isSafeInteger(tokens) && (tokens as number) >= 0)) &&
    Array.isArray(steps) &&
    steps.every((step) => isObject(step) && typeof step.role === "string")
  );
}

function isCall(value: unknown): boolean {
  return isObject(value) && [value.id, value.name, value.arguments].every((text) => typeof text === "string");
}

export function messagesOf(system: string | undefined, turns: readonly Turn[]): ChatMessage[] {
  const begin: ChatMessage[] = system === undefined ? [] : [{ role: "system", content: system }];
  return turns.reduce<ChatMessage[]>((all, { user, steps, answer }) => {
    all.push({ role: "user", content: user }, ...steps);
    if (answer !== undefined) all.push({ role: "assistant", content: answer });
    return all;
  }, begin);
}

/** Notes an answer in its turn.  @returns its calls, whose results come next */
export function noteAnswer(turn: Turn, text: string, { toolCalls }: GenerationResult): readonly ReplyCall[] {
  if (toolCalls.length === 0) {
    turn.answer = text;
    return [];
  }
  const made = toolCalls.map(({ id, name, arguments: json }) => ({
    ...{ id, type: "function" },
    function: { name, arguments: json },
  }));
  turn.steps = [...turn.steps, { role: "assistant", content: text === "" ? null : text, tool_calls: made }];
  return toolCalls;
}

/** Notes the result of a call. */
export function noteResult(turn: Turn, call: ReplyCall, result: string): void {
  turn.steps = [...turn.steps, { role: "tool", tool_call_id: call.id, name: call.name, content: result }];
}
