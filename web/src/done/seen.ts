/** Which conversations have changed since they were looked at here: an answer that finished unseen has a dot. */
import type { ConversationRow } from "../../../src/server/ui/wire.js";
import { Store } from "../store.js";

const name = "hundredweight.seen";
/** More are forgotten, the oldest first. */
const mostKept = 1000;

interface Seen {
  /** Changes before the first visit are no news. */
  readonly since: string;
  /** By conversation, the time of the change that was seen. */
  readonly at: Readonly<Record<string, string>>;
}

function stored(): Seen {
  try {
    const value = JSON.parse(localStorage.getItem(name) ?? "") as Seen;
    if (typeof value.since === "string" && typeof value.at === "object") return value;
  } catch {
    // The first visit, or somebody else's words.
  }
  return { since: new Date().toISOString(), at: {} };
}

export const seen = new Store<Seen>(stored());
localStorage.setItem(name, JSON.stringify(seen.value));

export function markSeen({ id, updatedAt }: Pick<ConversationRow, "id" | "updatedAt">): void {
  if (seen.value.at[id] === updatedAt) return;
  const entries = Object.entries({ ...seen.value.at, [id]: updatedAt });
  const at = Object.fromEntries(entries.sort(([, a], [, b]) => (a < b ? 1 : -1)).slice(0, mostKept));
  seen.set({ ...seen.value, at });
  localStorage.setItem(name, JSON.stringify(seen.value));
}

export function isUnseen({ id, updatedAt, running, messages }: ConversationRow, { since, at }: Seen): boolean {
  return !running && messages > 1 && updatedAt > (at[id] ?? since);
}
