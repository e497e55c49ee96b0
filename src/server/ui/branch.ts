/** The tree of messages. Pure, and used by the page as well. */
import type { Message } from "./wire.js";

/** From the beginning of the conversation to `leaf`. */
export function branchTo(messages: readonly Message[], leaf: string | null): Message[] {
  const byId = new Map(messages.map((message) => [message.id, message]));
  const branch: Message[] = [];
  for (let at = leaf; at !== null; ) {
    const message = byId.get(at);
    if (message === undefined) break;
    branch.push(message);
    at = message.parent;
  }
  return branch.reverse();
}

/** The part of a branch that the model sees: all of it, or from `seenFrom` on where that is on it. */
export function seenOf(branch: readonly Message[], seenFrom: string | undefined): readonly Message[] {
  const from = seenFrom === undefined ? -1 : branch.findIndex(({ id }) => id === seenFrom);
  return from < 0 ? branch : branch.slice(from);
}

/** The end of the branch that `id` is on: always the latest child. */
export function leafUnder(messages: readonly Message[], id: string): string {
  const latest = new Map<string, string>();
  for (const message of messages) if (message.parent !== null) latest.set(message.parent, message.id);
  let leaf = id;
  for (let child = latest.get(leaf); child !== undefined; child = latest.get(leaf)) leaf = child;
  return leaf;
}
