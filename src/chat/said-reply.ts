/**
 * An answer as it comes back in the next request of its conversation. Clients send it in several ways: with or without
 * what was thought, trimmed, arguments as they were or read and written anew, in their order or sorted.
 */
import { isObject } from "../json-object.js";
import type { ChatMessage } from "./messages.js";

export interface SaidCall {
  readonly id: string;
  readonly name: string;
  /** JSON text, as the model wrote it. */
  readonly arguments: string;
}

export interface SaidReply {
  readonly content: string;
  readonly reasoning: string;
  readonly calls: readonly SaidCall[];
}

/** Each rendering takes milliseconds. */
const mostForms = 8;

/** The messages that may stand for it, each once. */
export function sentBack({ content, reasoning, calls }: SaidReply): ChatMessage[] {
  const writings = [(text: string) => text, written, (text: string) => written(text, sorted)];
  const forms: ChatMessage[] = [];
  const seen = new Set<string>();
  for (const write of writings)
    for (const said of [content, content.trim()])
      for (const thought of [reasoning, ""]) {
        const form: ChatMessage = {
          role: "assistant",
          content: said === "" && calls.length > 0 ? null : said,
          ...(thought !== "" && { reasoning_content: thought }),
          ...(calls.length > 0 && {
            tool_calls: calls.map(({ id, name, arguments: text }) => ({
              id,
              type: "function",
              function: { name, arguments: write(text) },
            })),
          }),
        };
        const key = JSON.stringify(form);
        if (seen.has(key) || forms.length >= mostForms) continue;
        seen.add(key);
        forms.push(form);
      }
  return forms;
}

/** Makes up what follows it: results of its calls, or the next thing that a user says. */
export function followedBy({ calls }: SaidReply, text: string): ChatMessage[] {
  if (calls.length === 0) return [{ role: "user", content: text }];
  return calls.map(({ id, name }) => ({ role: "tool", tool_call_id: id, name, content: text }));
}

/** Arguments as a client writes them that has read them; what is no JSON stays as it is. */
function written(text: string, order: (value: unknown) => unknown = (value) => value): string {
  try {
    return JSON.stringify(order(JSON.parse(text)));
  } catch {
    return text;
  }
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (!isObject(value)) return value;
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(entries.map(([key, item]) => [key, sorted(item)]));
}
