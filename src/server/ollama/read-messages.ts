/** Messages of Ollama's API in the form of Chat Completions, which templates were written for. */
import type { ChatMessage } from "../../chat/index.js";
import type { Constraint } from "../../sampling/constraint/source.js";
import type { Exchange, ThinkingWish } from "../exchange/exchange.js";
import type { ExchangeTool } from "../exchange/tools.js";
import type { ChatInput } from "./request.js";

/** Its calls may have no ids: results belong to them by name, and by order. */
export function messagesOf(given: NonNullable<ChatInput["messages"]>): ChatMessage[] {
  const waiting: { readonly id: string; readonly name: string }[] = [];
  let made = 0;
  return given.map(({ role, content, thinking, tool_calls: calls, tool_name: name, tool_call_id: id }) => {
    const text = content ?? "";
    if (role === "tool") {
      const at = waiting.findIndex((call) => (id ? call.id === id : !name || call.name === name));
      const call = at < 0 ? waiting.shift() : waiting.splice(at, 1)[0];
      const called = name ?? call?.name;
      return { role, content: text, tool_call_id: id ?? call?.id ?? `call_${made++}`, ...(called && { name: called }) };
    }
    if (role !== "assistant") return { role, content: text };
    const written = (calls ?? []).map(({ id: own, function: called }) => {
      const call = { id: own ?? `call_${made++}`, name: called.name };
      waiting.push(call);
      return { id: call.id, type: "function", function: { name: call.name, arguments: called.arguments ?? {} } };
    });
    return {
      role,
      content: text,
      ...(thinking && { reasoning_content: thinking }),
      ...(written.length > 0 && { tool_calls: written }),
    };
  });
}

export function toolsOf(tools: ChatInput["tools"] = []): ExchangeTool[] {
  return tools.map(({ function: { name, description, parameters } }, i) => ({
    name,
    description: description ?? undefined,
    parameters,
    from: `tools[${i}]`,
    formFrom: `tools[${i}].function.parameters`,
  }));
}

export function thinkingOf(think: ChatInput["think"]): ThinkingWish {
  if (think === undefined) return {};
  if (typeof think === "boolean") return { enabled: think };
  return { enabled: true, effort: think === "max" ? "high" : think };
}

export function formatOf(format: ChatInput["format"]): Constraint | undefined {
  if (format === undefined || format === "") return undefined;
  const schema = format === "json" ? { type: "object" } : format;
  return { kind: "json_schema", schema, param: "format" };
}

/** Wishes that chat and generate have in common. */
export type Wishes = Pick<Exchange, "format" | "thinking" | "logprobs" | "stream">;

export function wishesOf(value: Pick<ChatInput, "format" | "think" | "logprobs" | "top_logprobs" | "stream">): Wishes {
  const { logprobs, top_logprobs: top = 0 } = value;
  return {
    format: formatOf(value.format),
    thinking: thinkingOf(value.think),
    logprobs: logprobs === true || top > 0 ? top : undefined,
    stream: value.stream ?? true,
  };
}
