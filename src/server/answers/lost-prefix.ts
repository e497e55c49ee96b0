/**
 * Tells where a prompt leaves what was evaluated before, in a header and in the log: nothing else shows why a model
 * reads 20,000 tokens again. Only the prompt's own token is named: what another prompt has there is nobody else's
 * business.
 */
import type { JobEvent } from "../../link/protocol.js";

export type PrefixEvent = Extract<JobEvent, { kind: "prefix" }>;

export const prefixHeader = "x-hundredweight-prefix";

/** So many tokens on both sides of the difference are a prompt that changed in front, and no other prompt. */
const worthTelling = 1024;
const mostText = 40;

/** `120 of 2400 tokens kept; differs at 120 (" Nov")` */
export function prefixText({ tokens, reused, differs }: PrefixEvent): string {
  const kept = `${reused} of ${tokens} tokens kept`;
  return differs === undefined ? kept : `${kept}; differs at ${differs.at} (${escaped(differs.text)})`;
}

/** A line of the log; undefined where nothing of weight was lost. */
export function lostText({ tokens, reused, differs }: PrefixEvent): string | undefined {
  if (differs === undefined || Math.min(differs.lost, tokens - differs.at) < worthTelling) return undefined;
  const again = `${tokens - reused} are read again`;
  return `prefix lost at token ${differs.at} of ${tokens}, which is ${escaped(differs.text)}: ${again}`;
}

/** JSON in printable ASCII. */
function escaped(text: string): string {
  const json = JSON.stringify(text.slice(0, mostText));
  return json.replace(/[^\x20-\x7e]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);
}
