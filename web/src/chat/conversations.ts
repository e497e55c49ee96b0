/** The list of conversations, and what is done with them as a whole. */
import type { Conversation, ConversationRow } from "../../../src/server/ui/wire.js";
import { download, request } from "../api.js";
import { isUnseen, markSeen, seen } from "../done/seen.js";
import { attempt, notify } from "../notices.js";
import { go, paths, route } from "../router.js";
import { Store } from "../store.js";

export interface ConversationList {
  readonly rows: readonly ConversationRow[] | undefined;
  readonly search: string;
}

export const list = new Store<ConversationList>({ rows: undefined, search: "" });

let asked = 0;

export async function refresh(): Promise<void> {
  const mine = ++asked;
  const query = list.value.search === "" ? "" : `?search=${encodeURIComponent(list.value.search)}`;
  const rows = await request<ConversationRow[]>("GET", `/ui/conversations${query}`).catch(() => undefined);
  if (mine === asked && rows !== undefined) list.set((before) => ({ ...before, rows }));
}

export function search(text: string): void {
  list.set((before) => ({ ...before, search: text }));
  void refresh();
}

const one = (id: string) => `/ui/conversations/${id}`;

export function create(settings: Partial<Pick<Conversation, "system" | "sampling">> = {}): Promise<Conversation> {
  return request<Conversation>("POST", "/ui/conversations", settings);
}

export async function rename(id: string, title: string): Promise<void> {
  const row = list.value.rows?.find((each) => each.id === id);
  const wasUnseen = row !== undefined && isUnseen(row, seen.value);
  if (title.trim() !== "") {
    const after = await attempt(() => request<Conversation>("PATCH", one(id), { title: title.trim() }));
    // Another name is no news.
    if (after !== undefined && !wasUnseen) markSeen(after);
  }
  await refresh();
}

/** Deletes at once; what was there is kept here for as long as it can be taken back. */
export async function remove({ id, title }: Pick<ConversationRow, "id" | "title">): Promise<void> {
  const kept = await download(`${one(id)}/export`)
    .then((blob) => blob.text())
    .catch(() => undefined); // a damaged one is deleted all the same
  const done = await attempt(() => request("DELETE", one(id)).then(() => true));
  if (done && route.value.view === "chat" && route.value.conversation === id) go(paths.chat());
  if (done) {
    const undo = { name: "Undo", run: () => void bringBack(kept ?? "") };
    notify("done", `Deleted “${title}”.`, kept === undefined ? undefined : undo);
  }
  await refresh();
}

async function bringBack(file: string): Promise<void> {
  const conversation = await attempt(() => request<Conversation>("POST", "/ui/conversations/import", file));
  await refresh();
  if (conversation !== undefined) go(paths.chat(conversation.id));
}

/** Pins it, or puts it into a folder. */
export async function file(id: string, where: { readonly pinned?: boolean; readonly folder?: string }): Promise<void> {
  await attempt(() => request("PATCH", one(id), where));
  await refresh();
}

export type ExportForm = "json" | "markdown" | "print";

export async function exportFile(row: Pick<ConversationRow, "id" | "title">, form: ExportForm): Promise<void> {
  const blob = await attempt(() => download(`${one(row.id)}/export`));
  if (blob === undefined) return;
  if (form === "json") {
    save(blob, row.title, "json");
    return;
  }
  const forms = await import("./export-forms.js");
  const conversation = JSON.parse(await blob.text()) as Conversation;
  if (form === "print") await forms.printConversation(conversation);
  else save(new Blob([forms.markdownOf(conversation)], { type: "text/markdown" }), row.title, "md");
}

function save(blob: Blob, title: string, ending: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  const name = title.replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-+|-+$/g, "");
  link.download = `${name.slice(0, 80) || "conversation"}.${ending}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** Takes a conversation of this page, or all of a file of ChatGPT or Open WebUI. */
export async function importFile(given: File): Promise<void> {
  const done = await attempt(async () => {
    const refused = (why: string) => new Error(`${given.name} was not imported: ${why}`);
    const text = await given.text();
    const { readForeign } = await import("./import-forms.js");
    const files = readForeign(text) ?? [text];
    let last: Conversation | undefined;
    for (const each of files)
      last = await request<Conversation>("POST", "/ui/conversations/import", each).catch((error: Error) => {
        throw refused(error.message);
      });
    if (last === undefined) throw refused("there is no conversation in it");
    return { last, count: files.length };
  });
  await refresh();
  if (done === undefined) return;
  notify("done", done.count === 1 ? `Imported “${done.last.title}”.` : `Imported ${done.count} conversations.`);
  go(paths.chat(done.last.id));
}
