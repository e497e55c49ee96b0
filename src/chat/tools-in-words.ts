/**
 * Tools for models whose template knows none: what they are is said in the system message, calls and results are
 * written into the messages, in the form that most models have seen.
 */
import { type Dialect, hermes, writeCalls } from "./dialects/index.js";
import { json } from "./dialects/write-calls.js";
import { callsOf, textOf } from "./history.js";
import type { ChatMessage } from "./messages.js";

export interface InWords {
  /** The template does not say which tools there are. */
  readonly tools: boolean;
  /** It does not write calls. */
  readonly calls: boolean;
  /** It refuses or drops results. */
  readonly results: boolean;
}

export function toolsInWords(
  messages: readonly ChatMessage[],
  tools: readonly unknown[],
  dialect: Dialect,
  inWords: InWords,
): readonly ChatMessage[] {
  const out: ChatMessage[] = [];
  for (const message of messages) {
    if (message.role === "assistant" && inWords.calls && Array.isArray(message.tool_calls))
      out.push(written(message, dialect.forms.length > 0 ? dialect : hermes));
    else if (message.role === "tool" && inWords.results) addResult(out, message);
    else out.push(message);
  }
  return inWords.tools && tools.length > 0
    ? withSystem(out, description(tools, dialect.forms.length > 0 ? dialect : hermes))
    : out;
}

/** Calls become the end of the text. */
function written(message: ChatMessage, dialect: Dialect): ChatMessage {
  const { tool_calls: _, ...rest } = message;
  const calls = callsOf(message, { template: "", arguments: "values" }).map((call) => ({
    name: call.function.name,
    arguments: call.function.arguments as Record<string, unknown>,
  }));
  const text = textOf(message);
  return { ...rest, content: `${text}${text === "" ? "" : "\n"}${writeCalls(dialect, calls)}` };
}

/** Results one after the other are one message: user and assistant take turns in most templates. */
function addResult(out: ChatMessage[], message: ChatMessage): void {
  const text = `<tool_response>\n${textOf(message)}\n</tool_response>`;
  const last = out.at(-1);
  if (last?.role === "user" && last.tool_results === true) {
    out[out.length - 1] = { ...last, content: `${textOf(last)}\n${text}` };
  } else out.push({ role: "user", content: text, tool_results: true });
}

function description(tools: readonly unknown[], dialect: Dialect): string {
  const lines = tools.map((tool) => json((tool as { readonly function?: unknown }).function ?? tool));
  return [
    "You can call these functions; each line describes one, its parameters as JSON Schema:",
    ...lines,
    "To call a function, write its name and arguments exactly like this:",
    writeCalls(dialect, [{ name: "FUNCTION", arguments: { PARAMETER: "VALUE" } }]),
    "What it returns comes in the next message. When no function is needed, answer as usual.",
  ].join("\n");
}

function withSystem(messages: readonly ChatMessage[], text: string): readonly ChatMessage[] {
  const [first, ...rest] = messages;
  if (first?.role !== "system") return [{ role: "system", content: text }, ...messages];
  return [{ ...first, content: `${textOf(first)}\n\n${text}` }, ...rest];
}
