/** The items of the Responses API as messages: what an assistant thinks, says and calls in a row is one message. */
import type { ChatMessage } from "../../chat/index.js";
import type { InnerNames } from "./read-tools.js";
import type { Item } from "./request.js";
import { openSummary, summaryHeading, unseal } from "./sealed.js";

/** Items that are no message of anybody, and were left out. */
export interface ReadInput {
  readonly messages: readonly ChatMessage[];
  readonly leftOut: ReadonlySet<string>;
}

/** Reads what the schema let through. */
export function readInput(instructions: string | undefined, items: readonly Item[], names: InnerNames): ReadInput {
  const reader = new Reader(names);
  if (instructions !== undefined && instructions !== "") reader.say("system", instructions);
  for (const item of items) reader.item(item);
  return reader;
}

interface Draft {
  role: string;
  content: string;
  reasoning_content?: string;
  tool_calls?: object[];
  tool_call_id?: string;
  [key: string]: unknown;
}

class Reader implements ReadInput {
  readonly messages: Draft[] = [];
  readonly leftOut = new Set<string>();
  private readonly names: InnerNames;

  constructor(names: InnerNames) {
    this.names = names;
  }

  say(role: string, content: string): void {
    this.messages.push({ role, content });
  }

  item(item: Item): void {
    const { type = "message" } = item;
    if (type === "message") this.message(item);
    else if (type === "reasoning") this.reasoning(item);
    else if (type === "function_call" || type === "custom_tool_call") this.call(item);
    else if (type === "function_call_output" || type === "custom_tool_call_output") {
      this.messages.push({ role: "tool", tool_call_id: textAt(item, "call_id"), content: textOf(item.output) });
    } else if (type === "compaction" || type === "compaction_summary") this.summary(item);
    else this.leftOut.add(type.slice(0, 50));
  }

  /** One that was made elsewhere cannot be read here. */
  private summary(item: Item): void {
    const text = openSummary(item.encrypted_content);
    if (text === undefined) this.leftOut.add("compaction, made by another server,");
    else this.say("user", `${summaryHeading}${text}`);
  }

  private message(item: Item): void {
    const role = textAt(item, "role");
    const content = textOf(item.content);
    if (role === "assistant") this.turn(({ tool_calls: calls }) => calls === undefined).content += content;
    else this.say(role, content);
  }

  private reasoning(item: Item): void {
    const texts = (list: unknown): string =>
      Array.isArray(list) ? list.map((part) => (part as Item)?.text ?? "").join("\n\n") : "";
    const thought = texts(item.content) || unseal(item.encrypted_content) || texts(item.summary);
    if (thought === "") return;
    const turn = this.turn(
      ({ content, tool_calls: calls, reasoning_content: before }) =>
        content === "" && calls === undefined && before === undefined,
    );
    turn.reasoning_content = thought;
  }

  private call(item: Item): void {
    const id = textAt(item, "call_id");
    const name = this.names.inner(textAt(item, "name"), item.namespace);
    const turn = this.turn(() => true);
    turn.tool_calls ??= [];
    turn.tool_calls.push(
      item.type === "custom_tool_call"
        ? { id, type: "custom", custom: { name, input: String(item.input ?? "") } }
        : { id, type: "function", function: { name, arguments: String(item.arguments ?? "{}") } },
    );
  }

  /** The assistant's turn that goes on, when it can, or a new one. */
  private turn(goesOn: (turn: Draft) => boolean): Draft {
    const last = this.messages.at(-1);
    if (last?.role === "assistant" && goesOn(last)) return last;
    const turn: Draft = { role: "assistant", content: "" };
    this.messages.push(turn);
    return turn;
  }
}

function textAt(item: Item, key: string): string {
  return String(item[key]);
}

function textOf(content: unknown): string {
  if (!Array.isArray(content)) return typeof content === "string" ? content : "";
  return content.map((part: Item) => String(part.type === "refusal" ? part.refusal : part.text)).join("");
}
