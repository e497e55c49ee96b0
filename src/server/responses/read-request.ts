/** A request of the Responses API as an exchange. */
import { randomUUID } from "node:crypto";
import type { Constraint } from "../../sampling/constraint/source.js";
import type { Exchange } from "../exchange/exchange.js";
import { HttpError, wrongField } from "../http/http-error.js";
import type { Warnings } from "../http/validate.js";
import { formatConstraint } from "../openai/constraint.js";
import { readInput } from "./read-input.js";
import { choiceOf, type InnerNames, readTools } from "./read-tools.js";
import type { ConversationInput, Item, ResponsesInput } from "./request.js";
import type { ResponseStore } from "./store.js";

/** Holds what is said and may be called, the names of tools, and the items of this turn for those that follow it. */
export interface Said {
  readonly exchange: Pick<Exchange, "messages" | "tools" | "toolChoice" | "parallelCalls" | "thinking">;
  readonly names: InnerNames;
  readonly input: readonly Item[];
}

/** @throws HttpError 400; 404 for a response or an item that is not stored any more */
export function saidOf(value: ConversationInput, store: ResponseStore, warnings: Warnings): Said {
  const { previous_response_id: previous, tool_choice: choice, reasoning } = value;
  const before = previous === undefined ? [] : store.history(previous);
  if (before === undefined) {
    const message = `previous_response_id: '${previous}' is not stored; send the conversation as input`;
    throw new HttpError(404, message, { param: "previous_response_id", code: "previous_response_not_found" });
  }
  const { tools, names, leftOut } = readTools(value.tools ?? []);
  for (const type of leftOut) warnings.add(`tools of type '${type}' run elsewhere and were left out`);
  const input = itemsOf(value, store);
  const said = readInput(value.instructions, [...before, ...input], names);
  for (const type of said.leftOut) warnings.add(`items of type '${type}' were left out`);
  const exchange = {
    // Of items that say nothing an empty message is left.
    messages: said.messages.length === 0 ? [{ role: "user", content: "" }] : said.messages,
    tools,
    toolChoice: choice && choiceOf(choice, names),
    parallelCalls: value.parallel_tool_calls,
    thinking: { effort: reasoning?.effort ?? undefined },
  };
  return { exchange, names, input };
}

export function exchangeOf(value: ResponsesInput, said: Said["exchange"]): Exchange {
  return {
    ...said,
    thinking: { ...said.thinking, budget: value.reasoning_budget },
    model: value.model,
    format: formatOf(value),
    sampling: value,
    stop: [],
    maxTokens: value.max_output_tokens ?? -1,
    logprobs: logprobsOf(value),
    stream: value.stream ?? false,
    maxTimeMs: value.max_time_ms,
    user: value.user,
  };
}

/** Characters of items that are named instead of sent. */
const mostReferred = 4 * 2 ** 20;

/** The items of this turn, each with an id; those that were only named are fetched. @throws HttpError 400, 404 */
function itemsOf({ input = [] }: ConversationInput, store: ResponseStore): readonly Item[] {
  if (typeof input === "string") return input === "" ? [] : [{ ...message, id: newId("msg"), content: input }];
  const lookup = store.lookup();
  let referred = 0;
  return input.map((given, i) => {
    const item = given as Item;
    if (item.type !== "item_reference") return typeof item.id === "string" ? item : { ...item, id: newId("item") };
    const found = typeof item.id === "string" ? lookup(item.id) : undefined;
    if (found === undefined) {
      const text = `input[${i}]: the item '${String(item.id).slice(0, 100)}' is not stored; send it as it is`;
      throw new HttpError(404, text, { param: `input[${i}].id`, code: "item_not_found" });
    }
    referred += JSON.stringify(found).length;
    if (referred > mostReferred) throw wrongField("input", "input: the items that it names are too long together");
    return found;
  });
}

/** Likeliest tokens to report beside each one; undefined: no log-probabilities. */
function logprobsOf({ include = [], top_logprobs: top }: ResponsesInput): number | undefined {
  return include.includes("message.output_text.logprobs") || (top ?? 0) > 0 ? (top ?? 0) : undefined;
}

const message = { type: "message", role: "user" };

export function newId(prefix: string): string {
  return `${prefix}_${randomUUID().replaceAll("-", "")}`;
}

function formatOf({ text }: ResponsesInput): Constraint | undefined {
  const format = text?.format ?? undefined;
  if (format === undefined) return undefined;
  if (format.type !== "json_schema") return formatConstraint({ type: format.type }, "text.format");
  const { type, schema, strict } = format;
  return formatConstraint({ type, json_schema: { schema, strict: strict === true } }, "text.format");
}
