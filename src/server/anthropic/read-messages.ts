/** The messages of Anthropic's API in the form of an exchange. */
import type { ChatMessage } from "../../chat/index.js";
import type { Block, Blocks, ConversationInput } from "./request.js";

/** Messages, and which tools they name that were held back. */
export interface ReadMessages {
  readonly messages: readonly ChatMessage[];
  /** Tools that results refer to. */
  readonly referred: ReadonlySet<string>;
  /** Kinds of blocks that were left out: results of tools that run at Anthropic's. */
  readonly leftOut: ReadonlySet<string>;
}

/** Reads what the schema let through: texts, calls, results, thinking. */
export function readMessages({ system, messages }: ConversationInput): ReadMessages {
  const reader = new Reader();
  if (system !== undefined) reader.system(system);
  for (const { role, content } of messages) {
    if (role === "system") reader.system(content as Blocks);
    else if (role === "user") reader.user(content as Blocks);
    else reader.assistant(content as Blocks);
  }
  return reader;
}

type Draft = { role: string } & { [key: string]: unknown };

class Reader implements ReadMessages {
  readonly messages: Draft[] = [];
  readonly referred = new Set<string>();
  readonly leftOut = new Set<string>();

  system(content: Blocks): void {
    const text = this.textOf(content);
    if (text !== "") this.messages.push({ role: "system", content: text });
  }

  /** Results come before what is said beside them, each as a message. */
  user(content: Blocks): void {
    const said: string[] = [];
    const flush = (): void => {
      if (said.length > 0) this.say("user", said.splice(0).join("\n\n"));
    };
    for (const block of listOf(content)) {
      if (block.type === "tool_result") {
        flush();
        this.messages.push(this.resultOf(block));
      } else said.push(this.text(block));
    }
    flush();
    if (listOf(content).length === 0) this.say("user", "");
  }

  assistant(content: Blocks): void {
    let text = "";
    let reasoning = "";
    const calls: object[] = [];
    for (const block of listOf(content)) {
      if (block.type === "thinking") reasoning += typeof block.thinking === "string" ? block.thinking : "";
      else if (block.type === "tool_use") calls.push(callOf(block));
      else if (block.type === "text") text += this.text(block);
      // What was thought in secret, and what ran elsewhere, is not for this model.
      else this.leftOut.add(block.type.slice(0, 50));
    }
    const last = this.messages.at(-1);
    const joins = last?.role === "assistant" && last.tool_calls === undefined && last.reasoning_content === undefined;
    if (joins && calls.length === 0 && reasoning === "") {
      last.content = `${last.content}${text}`;
      return;
    }
    this.messages.push({
      role: "assistant",
      content: text,
      ...(reasoning !== "" && { reasoning_content: reasoning }),
      ...(calls.length > 0 && { tool_calls: calls }),
    });
  }

  /** Turns of the same role that follow one another are one, as in the API. */
  private say(role: string, text: string): void {
    const last = this.messages.at(-1);
    if (last?.role === role) last.content = last.content === "" ? text : `${last.content}\n\n${text}`;
    else this.messages.push({ role, content: text });
  }

  private resultOf({ tool_use_id: id, content, is_error: error }: Block): Draft {
    const failed = error === true && { is_error: true };
    return {
      role: "tool",
      tool_call_id: ownId(id as string),
      content: this.textOf(content as Blocks | null),
      ...failed,
    };
  }

  private textOf(content: Blocks | null | undefined): string {
    if (typeof content === "string") return content;
    return (content ?? []).map((block) => this.text(block)).join("\n\n");
  }

  private text(block: Block): string {
    switch (block.type) {
      case "tool_reference": {
        const name = block.tool_name as string;
        this.referred.add(name);
        return `The tool ${name} can be called now.`;
      }
      case "document": {
        const { data, content } = block.source as { readonly data?: string; readonly content?: Blocks };
        const title = typeof block.title === "string" ? `${block.title}\n` : "";
        return `${title}${data ?? this.textOf(content)}`;
      }
      case "search_result": {
        const heading = [block.title, block.source].filter((line) => typeof line === "string");
        return [...heading, this.textOf(block.content as Blocks | null)].join("\n");
      }
      default:
        return block.text as string;
    }
  }
}

function listOf(content: Blocks): readonly Block[] {
  return typeof content === "string" ? [{ type: "text", text: content }] : content;
}

function callOf({ id, name, input }: Block): object {
  const json = typeof input === "string" ? input : JSON.stringify(input ?? {});
  return { id: ownId(String(id ?? "")), type: "function", function: { name, arguments: json } };
}

const [here, there] = ["call_", "toolu_"] as const;

/** Ids begin differently in this API; clients and templates see those they know. */
export function theirId(id: string): string {
  return id.startsWith(here) ? there + id.slice(here.length) : id;
}

function ownId(id: string): string {
  return id.startsWith(there) ? here + id.slice(there.length) : id;
}
