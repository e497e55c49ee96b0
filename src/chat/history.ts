/**
 * Brings messages into the form that templates were written for. Clients send what OpenAI's interface allows:
 * arguments as JSON text, custom tools, `developer`, thinking under several names. Templates read one form, and raise
 * errors for others.
 */
import { createHash } from "node:crypto";
import { isObject } from "../json-object.js";
import { Dict, fromJs, readJson } from "./jinja/index.js";
import type { ChatMessage } from "./messages.js";

export interface HistoryWants {
  /**
   * Arguments of calls: as a template's object (default), which keeps their order and numbers; as JSON text; as
   * values.
   */
  readonly arguments?: "object" | "text" | "values" | undefined;
  /** Ids of calls: nine letters and digits, as Mistral's templates demand. */
  readonly ids?: "nine" | undefined;
  /** The template's own text, which tells what names it knows. */
  readonly template: string;
}

/** A call as templates read it. */
export interface HistoryCall {
  readonly id: string;
  readonly type: "function";
  readonly function: { readonly name: string; readonly arguments: unknown };
}

/** @returns messages for the template; those that were right already are the same objects */
export function fitHistory(messages: readonly ChatMessage[], wants: HistoryWants): readonly ChatMessage[] {
  const names = new Map<string, string>();
  return messages.map((message) => {
    if (typeof message !== "object" || message === null) return message;
    const fitted = fitThinking(fitRole(message, wants.template), wants.template);
    if (message.role === "assistant") return fitCalls(fitted, wants, names);
    return fitted.role === "tool" ? fitResult(fitted, wants, names) : fitted;
  });
}

/**
 * OpenAI's `developer` is what every template but that of gpt-oss calls `system`; `function` is what `tool` was
 * called.
 */
function fitRole(message: ChatMessage, template: string): ChatMessage {
  if (message.role === "developer" && !template.includes("developer")) return { ...message, role: "system" };
  return message.role === "function" ? { ...message, role: "tool" } : message;
}

/** Thinking that a client sends back, under the name that the template reads. */
function fitThinking(message: ChatMessage, template: string): ChatMessage {
  if (message.role !== "assistant") return message;
  const thought = [message.reasoning_content, message.reasoning, message.thinking].find(
    (text) => typeof text === "string" && text !== "",
  );
  if (thought === undefined) return message;
  const thinking =
    /message\.thinking|\["thinking"\]|\['thinking'\]/.test(template) && !template.includes("reasoning_content");
  // gpt-oss takes either thinking or a text beside calls.
  const both = typeof message.content === "string" && message.content !== "" && Array.isArray(message.tool_calls);
  return {
    ...message,
    reasoning_content: thought,
    reasoning: thought,
    ...(thinking && !both && { thinking: thought }),
  };
}

function fitCalls(message: ChatMessage, wants: HistoryWants, names: Map<string, string>): ChatMessage {
  const calls = callsOf(message, wants);
  if (calls.length === 0) {
    if (!("tool_calls" in message)) return message;
    const { tool_calls: _, ...rest } = message;
    return rest;
  }
  for (const call of calls) names.set(call.id, call.function.name);
  const { function_call: _, ...rest } = message;
  return { ...rest, tool_calls: calls };
}

/** The calls of a message, whatever the client's way of writing it. */
export function callsOf(message: ChatMessage, wants: HistoryWants): HistoryCall[] {
  const { tool_calls: given, function_call: old } = message;
  const list: unknown[] = Array.isArray(given) ? given : isObject(old) ? [{ function: old }] : [];
  return list.filter(isObject).map((call, index) => {
    const custom = isObject(call.custom) ? call.custom : undefined;
    const inner = isObject(call.function) ? call.function : (custom ?? call);
    const args = custom === undefined ? inner.arguments : { input: custom.input ?? "" };
    const id = typeof call.id === "string" && call.id !== "" ? call.id : `call_${index}`;
    return {
      id: fitId(id, wants),
      type: "function",
      function: { name: String(inner.name ?? ""), arguments: fitArguments(args, wants) },
    };
  });
}

/** A tool's result: templates that name the tool in it find the name in the call. */
function fitResult(message: ChatMessage, wants: HistoryWants, names: ReadonlyMap<string, string>): ChatMessage {
  const id = typeof message.tool_call_id === "string" ? fitId(message.tool_call_id, wants) : undefined;
  const name = message.name ?? (id === undefined ? undefined : names.get(id));
  return {
    ...message,
    ...(id !== undefined && { tool_call_id: id }),
    ...(name !== undefined && { name }),
  };
}

function fitArguments(given: unknown, wants: HistoryWants): unknown {
  const text = typeof given === "string" ? given : JSON.stringify(given ?? {});
  const values = valuesOf(text);
  const kept = values ?? { broken_arguments: text };
  if (wants.arguments === "text") return values === undefined ? JSON.stringify(kept) : text.trim() === "" ? "{}" : text;
  if (wants.arguments === "values") return kept;
  if (typeof given !== "string" || values === undefined) return kept;
  try {
    const read = readJson(text);
    return read instanceof Dict ? read : fromJs({ arguments: read }, "person");
  } catch {
    return kept;
  }
}

/** @returns undefined for what an earlier answer broke off: it is kept under a name that says so */
function valuesOf(text: string): Record<string, unknown> | undefined {
  if (text.trim() === "") return {};
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) ? value : { arguments: value };
  } catch {
    return undefined;
  }
}

function fitId(id: string, { ids }: HistoryWants): string {
  if (ids !== "nine" || /^[A-Za-z0-9]{9}$/.test(id)) return id;
  return createHash("sha256")
    .update(id)
    .digest("base64")
    .replace(/[^A-Za-z0-9]/g, "x")
    .slice(0, 9);
}

/**
 * System text that the template refuses or drops goes before the next user's message.
 * @param first whether it takes one at the beginning; `later`: and elsewhere
 */
export function fitSystem(
  messages: readonly ChatMessage[],
  first: () => boolean,
  later: () => boolean,
): readonly ChatMessage[] {
  const isSystem = ({ role }: ChatMessage): boolean => role === "system";
  if (!messages.some(isSystem)) return messages;
  const takesFirst = isSystem(messages[0]!) && messages[0]!.content !== "" && first();
  if (takesFirst && !messages.slice(1).some(isSystem)) return messages;
  if (messages.slice(1).some(isSystem) && takesFirst && later()) return messages;
  const out: ChatMessage[] = [];
  let waiting: string[] = [];
  let leading = takesFirst;
  for (const message of messages) {
    if (isSystem(message)) {
      const text = textOf(message);
      if (text.trim() === "") continue;
      const last = out.at(-1);
      // Several at the beginning are one.
      if (leading && last !== undefined) out[out.length - 1] = { ...last, content: `${textOf(last)}\n\n${text}` };
      else if (leading) out.push(message);
      else waiting.push(text);
      continue;
    }
    leading = false;
    if (message.role === "user" && waiting.length > 0) {
      out.push(before(waiting, message));
      waiting = [];
    } else out.push(message);
  }
  if (waiting.length > 0) out.push({ role: "user", content: waiting.join("\n\n") });
  return out;
}

function before(texts: readonly string[], message: ChatMessage): ChatMessage {
  const { content } = message;
  const text = texts.join("\n\n");
  if (Array.isArray(content)) return { ...message, content: [{ type: "text", text: `${text}\n\n` }, ...content] };
  const said = typeof content === "string" ? content : "";
  return { ...message, content: said === "" ? text : `${text}\n\n${said}` };
}

/** The texts of a message, one after the other. */
export function textOf({ content }: ChatMessage): string {
  if (typeof content === "string") return content;
  return Array.isArray(content) ? content.map(({ text }) => (typeof text === "string" ? text : "")).join("") : "";
}
