/** A request of Anthropic's Messages API as an exchange. */
import type { Constraint } from "../../sampling/constraint/source.js";
import type { Exchange, ThinkingWish } from "../exchange/exchange.js";
import type { ExchangeTool, ToolChoice } from "../exchange/tools.js";
import type { Warnings } from "../http/validate.js";
import { readMessages } from "./read-messages.js";
import type { ConversationInput, MessagesInput } from "./request.js";

export type Said = Pick<Exchange, "messages" | "tools" | "toolChoice" | "parallelCalls" | "thinking">;

export function exchangeOf(value: MessagesInput, warnings: Warnings): Exchange {
  return {
    ...saidOf(value, warnings),
    model: value.model,
    format: formatOf(value),
    sampling: value,
    stop: (value.stop_sequences ?? []).filter((text) => text !== ""),
    maxTokens: value.max_tokens ?? -1,
    stream: value.stream ?? false,
    maxTimeMs: value.max_time_ms,
    user: value.metadata?.user_id?.slice(0, 500),
  };
}

/** Reads what is said and what may be called. */
export function saidOf(value: ConversationInput, warnings: Warnings): Said {
  const { messages, referred, leftOut } = readMessages(value);
  for (const type of leftOut) warnings.add(`blocks of type '${type}' were left out`);
  const choice = value.tool_choice;
  return {
    messages,
    tools: toolsOf(value, referred, warnings),
    toolChoice: choice && choiceOf(choice),
    parallelCalls: choice?.disable_parallel_tool_use !== true,
    thinking: thinkingOf(value),
  };
}

/** Tools that Anthropic defines have no schema here: offering less is no wrong answer, a choice of them is refused. */
function toolsOf({ tools = [] }: ConversationInput, referred: ReadonlySet<string>, warnings: Warnings): ExchangeTool[] {
  return tools.flatMap((tool, i) => {
    const { type, name, description, input_schema: parameters, strict, defer_loading: deferred } = tool;
    if (type !== undefined && type !== null && type !== "custom") {
      warnings.add(`tools of type '${type.slice(0, 50)}' are Anthropic's and were left out`);
      return [];
    }
    // One that is held back costs nothing until it is looked for.
    if (deferred === true && !referred.has(name)) return [];
    const from = `tools[${i}]`;
    const formFrom = `${from}.input_schema`;
    return [{ name, description: description ?? undefined, parameters, strict: strict === true, from, formFrom }];
  });
}

function choiceOf(choice: NonNullable<ConversationInput["tool_choice"]>): ToolChoice {
  if (choice.type === "tool") return { kind: "named", name: choice.name };
  return { kind: choice.type === "any" ? "required" : choice.type };
}

function thinkingOf({ thinking, output_config: output }: ConversationInput): ThinkingWish {
  const effort = effortOf(output?.effort ?? undefined);
  if (thinking === undefined) return { effort };
  if (thinking.type === "disabled") return { enabled: false, effort };
  if (thinking.type !== "enabled") return { effort };
  return { enabled: true, effort, budget: thinking.budget_tokens ?? undefined };
}

/** Templates know three words. */
function effortOf(effort: string | undefined): string | undefined {
  return effort === "xhigh" || effort === "max" ? "high" : effort;
}

function formatOf({ output_config: output }: ConversationInput): Constraint | undefined {
  const format = output?.format ?? undefined;
  if (format?.type !== "json_schema") return undefined;
  return { kind: "json_schema", schema: format.schema, param: "output_config.format" };
}
