/** Conversations that were never held, for tests that want them long or odd. */
import { newId } from "../../src/server/ui/ids.js";
import type { Conversation, Message } from "../../src/server/ui/wire.js";
import { api } from "./page.js";

export type Turn = readonly [question: string, answer: string, more?: Partial<Message>];

/** @returns its id */
export async function importTurns(url: string, title: string, turns: readonly Turn[]): Promise<string> {
  const createdAt = new Date().toISOString();
  const messages: Message[] = [];
  const add = (role: Message["role"], content: string, more: Partial<Message>) => {
    messages.push({ id: newId(), parent: messages.at(-1)?.id ?? null, role, content, createdAt, ...more });
  };
  for (const [question, answer, more] of turns) {
    add("user", question, {});
    add("assistant", answer, { state: "stop", ...more });
  }
  const leaf = messages.at(-1)?.id ?? null;
  const header = { version: 1, id: newId(), title, createdAt, updatedAt: createdAt };
  const file = { ...header, system: "", sampling: {}, leaf, messages };
  return (await api<Conversation>(url, "POST", "/ui/conversations/import", file)).id;
}
