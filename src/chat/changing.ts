/**
 * Takes out of prompts what changes with every request and says nothing to a model. It stands at the front, so that
 * nothing of what was evaluated before would be found again.
 */
import type { ChatMessage } from "./messages.js";

/**
 * Some clients put the counters of their own bills into the first system text.
 * @source https://github.com/anthropics/claude-code/issues/68900: `x-anthropic-billing-header: cc_version=...; cch=...;`
 */
const header = /^\s*x-anthropic-billing-header:(?:[ \t]*[\w.-]+=[^;\s]*;)+\s*/;

/** @returns the same messages where nothing changes */
export function withoutHeaders(messages: readonly ChatMessage[]): readonly ChatMessage[] {
  if (!messages.some(hasHeader)) return messages;
  return messages.map((message) => {
    if (!hasHeader(message)) return message;
    const { content } = message;
    if (typeof content === "string") return { ...message, content: content.replace(header, "") };
    const [first, ...rest] = content as NonNullable<Exclude<typeof content, string>>;
    const text = first!.text!.replace(header, "");
    return { ...message, content: text === "" ? rest : [{ ...first!, text }, ...rest] };
  });
}

function hasHeader(message: ChatMessage): boolean {
  if (typeof message !== "object" || message === null) return false;
  const { role, content } = message;
  if (role !== "system" && role !== "developer") return false;
  const text = Array.isArray(content) ? content[0]?.text : content;
  return typeof text === "string" && header.test(text);
}

/** The time that templates are told: of the full hour, for one that writes seconds would begin every prompt anew. */
export function steadyTime(now = new Date()): Date {
  const time = new Date(now);
  time.setMinutes(0, 0, 0);
  return time;
}
