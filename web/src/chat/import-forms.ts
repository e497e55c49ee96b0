/** Conversations of other programs as files of this one. Files may be anybody's: what makes no sense is left out. */
import { isObject } from "../../../src/json-object.js";
import { newId } from "../../../src/server/ui/ids.js";
import type { Conversation, Message } from "../../../src/server/ui/wire.js";

type Fields = Readonly<Record<string, unknown>>;
const textOf = (value: unknown): string => (typeof value === "string" ? value : "");

interface Node {
  readonly parent: string | null;
  readonly role: string;
  readonly content: string;
  readonly seconds: number;
  readonly model: string;
}

/** @returns the files of the conversations in it; undefined where it is no other program's file */
export function readForeign(text: string): string[] | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined; // the server says what is wrong with it
  }
  const all = Array.isArray(value) ? value : [value];
  const found = all.flatMap((each) => (isObject(each) ? (ofChatGpt(each) ?? ofOpenWebUi(each) ?? []) : []));
  return found.length === 0 ? undefined : found.map((each) => JSON.stringify(each));
}

/** ChatGPT's conversations.json: a tree of nodes, some of which hold no words. */
function ofChatGpt({ title, mapping, current_node: current, create_time: created }: Fields): Conversation | undefined {
  if (!isObject(mapping)) return undefined;
  const nodes = new Map<string, Node>();
  for (const [id, node] of Object.entries(mapping)) {
    if (!isObject(node)) continue;
    const message = isObject(node.message) ? node.message : {};
    const author = isObject(message.author) ? message.author : {};
    const content = isObject(message.content) ? message.content : {};
    const parts = Array.isArray(content.parts) ? content.parts.map(textOf) : [];
    const metadata = isObject(message.metadata) ? message.metadata : {};
    nodes.set(id, {
      parent: typeof node.parent === "string" ? node.parent : null,
      role: content.content_type === "text" ? textOf(author.role) : "",
      content: parts.join("\n"),
      seconds: Number(message.create_time ?? created),
      model: textOf(metadata.model_slug),
    });
  }
  return conversationOf(textOf(title), nodes, textOf(current));
}

/** Open WebUI's export: the tree of a chat is its history. */
function ofOpenWebUi(chat: Fields): Conversation | undefined {
  const inner = isObject(chat.chat) ? chat.chat : chat;
  const history = isObject(inner.history) ? inner.history : undefined;
  if (history === undefined || !isObject(history.messages)) return undefined;
  const nodes = new Map<string, Node>();
  for (const [id, node] of Object.entries(history.messages)) {
    if (!isObject(node)) continue;
    nodes.set(id, {
      parent: typeof node.parentId === "string" ? node.parentId : null,
      role: textOf(node.role),
      content: textOf(node.content),
      seconds: Number(node.timestamp),
      model: textOf(node.model),
    });
  }
  return conversationOf(textOf(inner.title ?? chat.title), nodes, textOf(history.currentId));
}

const mostMessages = 10_000;

/** Takes turns of users and answers out of a tree; two of one kind that follow each other become one message. */
function conversationOf(title: string, nodes: ReadonlyMap<string, Node>, current: string): Conversation {
  const children = new Map<string | null, string[]>();
  for (const [id, { parent }] of nodes) {
    const known = parent !== null && nodes.has(parent) ? parent : null;
    children.set(known, [...(children.get(known) ?? []), id]);
  }
  const messages: Message[] = [];
  /** By node, the message it became or the one it is behind. */
  const became = new Map<string, Message | undefined>();
  let system = "";
  const waiting = [...(children.get(null) ?? [])];
  while (waiting.length > 0 && messages.length < mostMessages) {
    const id = waiting.shift()!;
    if (became.has(id)) continue;
    const { parent, role, content, seconds, model } = nodes.get(id)!;
    const before = parent === null ? undefined : became.get(parent);
    waiting.push(...(children.get(id) ?? []));
    became.set(id, before);
    if (role === "system") system ||= content;
    if ((role !== "user" && role !== "assistant") || content.trim() === "") continue;
    if (before?.role === role) {
      const joined = { ...before, content: `${before.content}\n\n${content}` };
      const at = messages.findIndex((message) => message.id === before.id);
      messages[at] = joined;
      became.set(id, joined);
      continue;
    }
    // An answer to nothing has nothing to stand behind.
    if (role === "assistant" && before === undefined) continue;
    const message: Message = {
      id: newId(),
      parent: before?.id ?? null,
      role,
      content,
      createdAt: timeOf(seconds),
      ...(role === "assistant" && { state: "stop", ...(model !== "" && { model: model.slice(0, 1000) }) }),
    };
    messages.push(message);
    became.set(id, message);
  }
  const leaf = became.get(current) ?? messages.at(-1);
  const now = new Date().toISOString();
  const file = {
    version: 1,
    id: newId(),
    title: title.trim().slice(0, 200) || "Imported conversation",
    createdAt: messages[0]?.createdAt ?? now,
    updatedAt: messages.at(-1)?.createdAt ?? now,
    system: system.slice(0, 256 * 1024),
    sampling: {},
    leaf: leaf?.id ?? null,
    messages,
  };
  return file as Conversation;
}

function timeOf(seconds: number): string {
  const date = new Date(1000 * seconds);
  return (Number.isFinite(date.getTime()) ? date : new Date()).toISOString();
}
