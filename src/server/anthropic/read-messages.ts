/** The messages of Anthropic's API in the form of an exchange. */
import type { ChatMessage } from "../../chat/index.js";
import { wrongField } from "../http/http-error.js";
import type { Block, Blocks, ConversationInput } from "./request.js";

/** Messages, and which tools they name that were held back. */
export interface ReadMessages {
  readonly messages: readonly ChatMessage[];
  /** Tools that results refer to. */
  readonly referred: ReadonlySet<string>;
  /** Kinds of blocks that were left out: results of tools that run at Anthropic's. */
  readonly leftOut: ReadonlySet<string>;
}

/** @throws HttpError 400 for a part that is no text, naming it */
export function readMessages({ system, messages }: ConversationInput): ReadMessages {
  const reader = new Reader();
  if (system !== undefined) reader.system(system, "system");
  messages.forEach(({ role, content }, i) => {
    const at = `messages[${i}].content`;
    if (role === "system") reader.system(content, at);
    else if (role === "user") reader.user(content, at);
    else reader.assistant(content, at);
  });
  return reader;
}

type Draft = { role: string } & { [key: string]: unknown };

class Reader implements ReadMessages {
  readonly messages: Draft[] = [];
  readonly referred = new Set<string>();
  readonly leftOut = new Set<string>();

  system(content: Blocks, at: string): void {
    const text = this.textOf(content, at);
    if (text !== "") this.messages.push({ role: "system", content: text });
  }

  /** Results come before what is said beside them, each as a message. */
  user(content: Blocks, at: string): void {
    const said: string[] = [];
    const flush = (): void => {
      if (said.length > 0) this.say("user", said.splice(0).join("\n\n"));
    };
    for (const [i, block] of listOf(content).entries()) {
      const here = typeof content === "string" ? at : `${at}[${i}]`;
      if (block.type === "tool_result") {
        flush();
        this.messages.push(this.resultOf(block, here));
      } else {
        said.push(this.text(block, here));
      }
    }
    flush();
    if (listOf(content).length === 0) this.say("user", "");
  }

  assistant(content: Blocks, at: string): void {
    let text = "";
    let reasoning = "";
    const calls: object[] = [];
    for (const [i, block] of listOf(content).entries()) {
      const here = typeof content === "string" ? at : `${at}[${i}]`;
      if (block.type === "thinking") reasoning += typeof block.thinking === "string" ? block.thinking : "";
      else if (block.type === "tool_use") calls.push(callOf(block, here));
      else if (block.type === "text") text += this.text(block, here);
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

  private resultOf(block: Block, at: string): Draft {
    const id = block.tool_use_id;
    if (typeof id !== "string") throw wrongField(`${at}.tool_use_id`, `${at}.tool_use_id: is missing`);
    const given = (block.content ?? "") as Blocks;
    const content = this.textOf(given, `${at}.content`);
    const failed = block.is_error === true && { is_error: true };
    return { role: "tool", tool_call_id: ownId(id), content, ...failed };
  }

  private textOf(content: Blocks, at: string): string {
    if (typeof content === "string") return content;
    if (!Array.isArray(content)) throw wrongField(at, `${at}: a text, or a list of blocks`);
    return content.map((block, i) => this.text(block, `${at}[${i}]`)).join("\n\n");
  }

  /** @throws HttpError 400 for a block that is no text */
  private text(block: Block, at: string): string {
    if (typeof block !== "object" || block === null) throw wrongField(at, `${at}: a block is an object`);
    if (block.type === "text") {
      if (typeof block.text === "string") return block.text;
      throw wrongField(`${at}.text`, `${at}.text: is missing`);
    }
    if (block.type === "tool_reference" && typeof block.tool_name === "string") {
      this.referred.add(block.tool_name);
      return `The tool ${block.tool_name} can be called now.`;
    }
    if (block.type === "document") return this.document(block, at);
    if (block.type === "search_result") {
      const heading = [block.title, block.source].filter((line) => typeof line === "string");
      return [...heading, this.textOf((block.content ?? "") as Blocks, `${at}.content`)].join("\n");
    }
    const what = block.type === "image" ? "images" : `blocks of type '${String(block.type).slice(0, 50)}'`;
    throw wrongField(at, `${at}: ${what} are not supported, only text`, "unsupported_content");
  }

  /** @throws HttpError 400 for a document that is no text */
  private document(block: Block, at: string): string {
    const { type, data, content } = (block.source ?? {}) as { type?: unknown; data?: unknown; content?: Blocks };
    const title = typeof block.title === "string" ? `${block.title}\n` : "";
    if (type === "text" && typeof data === "string") return `${title}${data}`;
    if (type === "content" && content !== undefined) return `${title}${this.textOf(content, `${at}.source.content`)}`;
    throw wrongField(at, `${at}: only documents whose source is text are supported`, "unsupported_content");
  }
}

function listOf(content: Blocks): readonly Block[] {
  return typeof content === "string" ? [{ type: "text", text: content }] : content;
}

/** @throws HttpError 400 */
function callOf({ id, name, input }: Block, at: string): object {
  if (typeof name !== "string") throw wrongField(`${at}.name`, `${at}.name: is missing`);
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
