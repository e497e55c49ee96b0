/** The response object and its items. */
import type { Ending, SpokenPart } from "../exchange/events.js";
import type { InnerNames } from "./read-tools.js";
import type { Item, ResponsesInput } from "./request.js";
import { seal } from "./sealed.js";

/** How what is thought is told. */
export interface ReasoningForm {
  /** As `summary`, for clients that asked for one: it is the thinking itself. */
  readonly summary: boolean;
  /** For clients that let nothing be stored and send it back. */
  readonly sealed: boolean;
}

export type ItemStatus = "in_progress" | "completed" | "incomplete";

export const prefixes = { content: "msg", reasoning: "rs", call: "fc", custom: "ctc" } as const;

/** @param logprobs of the tokens of a text */
export function itemOf(
  part: SpokenPart,
  id: string,
  status: ItemStatus,
  names: InnerNames,
  form: ReasoningForm,
  logprobs: readonly object[] = [],
): Item {
  if (part.kind === "call") {
    const called = { id, call_id: part.id, ...names.outer(part.name) };
    return part.custom
      ? { ...called, type: "custom_tool_call", status, input: part.arguments }
      : { ...called, type: "function_call", status, arguments: part.arguments };
  }
  const done = status !== "in_progress";
  if (part.kind === "content") {
    return { id, type: "message", status, role: "assistant", content: done ? [textPart(part.text, logprobs)] : [] };
  }
  return {
    id,
    type: "reasoning",
    summary: done && form.summary ? [{ type: "summary_text", text: part.text }] : [],
    ...(!form.summary && { content: done ? [{ type: "reasoning_text", text: part.text }] : [] }),
    ...(form.sealed && { encrypted_content: done ? seal(part.text) : "" }),
    status,
  };
}

export function textPart(text: string, logprobs: readonly object[] = []): object {
  return { type: "output_text", text, annotations: [], logprobs };
}

/** Tools and instructions are given back up to this length: an answer that takes hours does not hold larger ones. */
const mostEcho = 16 * 1024;

/** The fields of a response that repeat its request. */
export function echoOf(value: ResponsesInput): object {
  const { instructions, tools = [], tool_choice: choice, text, reasoning } = value;
  const large = JSON.stringify([instructions, tools, choice, text, value.metadata]).length > mostEcho;
  return {
    instructions: large ? null : (instructions ?? null),
    max_output_tokens: value.max_output_tokens ?? null,
    max_tool_calls: value.max_tool_calls ?? null,
    metadata: large ? {} : (value.metadata ?? {}),
    parallel_tool_calls: value.parallel_tool_calls ?? true,
    previous_response_id: value.previous_response_id ?? null,
    prompt_cache_key: value.prompt_cache_key ?? null,
    reasoning: { effort: reasoning?.effort ?? null, summary: reasoning?.summary ?? null },
    safety_identifier: value.safety_identifier ?? null,
    service_tier: "default",
    store: value.store ?? true,
    temperature: value.temperature ?? null,
    text: large ? { format: { type: text?.format?.type ?? "text" } } : { format: { type: "text" }, ...text },
    tool_choice: large ? "auto" : (choice ?? "auto"),
    tools: large ? [] : tools.map(toolEcho),
    top_logprobs: value.top_logprobs ?? 0,
    top_p: value.top_p ?? null,
    truncation: "disabled",
    background: false,
    ...(value.user !== undefined && { user: value.user }),
  };
}

/** Says of a function also what the request left out, as the API does. */
function toolEcho(tool: Item): Item {
  if (tool.type !== "function") return tool;
  return { ...tool, parameters: tool.parameters ?? null, strict: tool.strict ?? false };
}

export function usageOf({ promptTokens, cachedTokens, tokens, reasoningTokens }: Ending): object {
  return {
    input_tokens: promptTokens,
    input_tokens_details: { cached_tokens: cachedTokens, cache_write_tokens: 0 },
    output_tokens: tokens,
    output_tokens_details: { reasoning_tokens: reasoningTokens },
    total_tokens: promptTokens + tokens,
  };
}
