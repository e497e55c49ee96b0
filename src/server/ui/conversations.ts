/**
 * Conversations kept as files of one folder. A file is replaced whole (written beside, synchronised, renamed), so that a
 * crash leaves the old or the new one. Titles of all are in memory; the conversations in use are, too.
 */
import { randomBytes } from "node:crypto";
import { mkdir, open, readdir, readFile, rename, rm, stat } from "node:fs/promises";
import { homedir } from "node:os";
import { isAbsolute, join } from "node:path";
import { HundredweightError } from "../../errors.js";
import {
  checkConversation,
  decodeConversation,
  decodeHeader,
  encodeConversation,
  limits,
} from "./conversation-file.js";
import { idPattern, newId } from "./ids.js";
import type { Conversation, ConversationHeader, Message } from "./wire.js";

export type Row = ConversationHeader & { readonly messages: number; readonly excerpt?: string };

/** The first line of a file fits: a title of 200 characters, escaped, takes 1.2 KB. */
const headerBytes = 4096;
/** Conversations kept in memory beyond those somebody holds. */
const mostCached = 8;
/** A search reads files, the latest first, for as long as this. */
const mostSearchMs = 1000;
/** One letter is in every message. */
const leastSearched = 2;
const excerptCharacters = 60;
const suffix = ".conversation.jsonl";

/** Where the XDG Base Directory Specification puts a user's data; a relative XDG_DATA_HOME is to be ignored. */
export function defaultDataFolder(env: NodeJS.ProcessEnv = process.env): string {
  const base = env.XDG_DATA_HOME;
  return join(base && isAbsolute(base) ? base : join(homedir(), ".local", "share"), "hundredweight");
}

export class ConversationStore {
  readonly #folder: string;
  readonly #onListed: () => void;
  #rows: Promise<Map<string, Row>> | undefined;
  readonly #cache = new Map<string, Conversation>();
  /** Conversations are read and written one operation after the other. */
  readonly #turns = new Map<string, Promise<unknown>>();

  /**
   * @param folder is made when something is first written
   * @param onListed called when the list has changed
   */
  constructor(folder: string, onListed: () => void = () => {}) {
    this.#folder = folder;
    this.#onListed = onListed;
  }

  /** The latest first; of a search those that hold the words in their title or, as far as there is time, in a message. */
  async list(search = ""): Promise<Row[]> {
    const wanted = search.trim().toLowerCase();
    const rows = [...(await this.#index()).values()].sort((a, b) =>
      a.updatedAt < b.updatedAt ? 1 : a.updatedAt > b.updatedAt ? -1 : a.id < b.id ? 1 : -1,
    );
    if (wanted === "") return rows;
    const found: Row[] = [];
    const end = performance.now() + mostSearchMs;
    for (const row of rows) {
      if (row.title.toLowerCase().includes(wanted)) found.push(row);
      else if (wanted.length >= leastSearched && performance.now() < end) {
        const excerpt = await this.#excerpt(row.id, wanted);
        if (excerpt !== undefined) found.push({ ...row, excerpt });
      }
    }
    return found;
  }

  async #excerpt(id: string, wanted: string): Promise<string | undefined> {
    const read = async () => {
      const { size } = await stat(this.#path(id));
      return size > limits.conversationBytes ? undefined : decodeConversation(await readFile(this.#path(id), "utf8"));
    };
    // A damaged file holds nothing that can be shown, and one that is deleted meanwhile neither.
    const conversation = this.#cache.get(id) ?? (await read().catch(() => undefined));
    return conversation?.messages.map(({ content }) => excerptOf(content, wanted)).find((text) => text !== undefined);
  }

  /** @throws CONVERSATION_UNKNOWN, FORMAT_INVALID, FILE_IO */
  read(id: string): Promise<Conversation> {
    return this.#inTurn(id, () => this.#load(id));
  }

  /** @throws CONVERSATION_LIMIT, FILE_IO */
  async create(from: Partial<Pick<Conversation, "title" | "system" | "sampling">> = {}): Promise<Conversation> {
    const now = new Date().toISOString();
    return this.#add({
      id: newId(),
      title: from.title ?? "New conversation",
      createdAt: now,
      updatedAt: now,
      system: from.system ?? "",
      sampling: from.sampling ?? {},
      leaf: null,
      messages: [],
    });
  }

  /**
   * Takes over an exported conversation: under the name it had where that is free, so that a deletion can be taken back
   * and pages that show it find it again; else under a new one.
   * @throws FORMAT_INVALID, CONVERSATION_LIMIT, FILE_IO
   */
  async import(value: unknown): Promise<Conversation> {
    const found = checkConversation(value);
    return this.#add({ ...found, messages: found.messages.map(settled) });
  }

  /**
   * Replaces what `change` gives. Its time of change moves unless `touch` is false.
   * @throws CONVERSATION_UNKNOWN, CONVERSATION_LIMIT, FILE_IO
   */
  update(
    id: string,
    change: (conversation: Conversation) => Partial<Omit<Conversation, "id">>,
    { touch = true }: { readonly touch?: boolean } = {},
  ): Promise<Conversation> {
    return this.#inTurn(id, async () => {
      const before = await this.#load(id);
      const updatedAt = touch ? new Date().toISOString() : before.updatedAt;
      const after = { ...before, updatedAt, ...change(before) };
      await this.#store(after);
      return after;
    });
  }

  /** @throws CONVERSATION_UNKNOWN, FILE_IO */
  delete(id: string): Promise<void> {
    return this.#inTurn(id, async () => {
      await this.#known(id);
      await wrap(rm(this.#path(id), { force: true }));
      (await this.#index()).delete(id);
      this.#cache.delete(id);
      this.#onListed();
    });
  }

  async #add(conversation: Conversation): Promise<Conversation> {
    const rows = await this.#index();
    if (rows.size >= limits.conversations) throw limit(`there are ${rows.size} conversations already; delete some`);
    const added = await this.#inTurn(conversation.id, async () => {
      if (rows.has(conversation.id)) return undefined;
      await this.#store(conversation);
      return conversation;
    });
    return added ?? this.#add({ ...conversation, id: newId() });
  }

  async #known(id: string): Promise<Row> {
    const row = idPattern.test(id) ? (await this.#index()).get(id) : undefined;
    if (row === undefined) throw new HundredweightError("CONVERSATION_UNKNOWN", "there is no such conversation");
    return row;
  }

  async #load(id: string): Promise<Conversation> {
    await this.#known(id);
    const cached = this.#cache.get(id);
    if (cached !== undefined) {
      this.#keep(cached);
      return cached;
    }
    const path = this.#path(id);
    const { size } = await wrap(stat(path));
    if (size > limits.conversationBytes) throw limit(`${id} has ${size} bytes`);
    const found = decodeConversation(await wrap(readFile(path, "utf8")));
    if (found.id !== id) throw new HundredweightError("FORMAT_INVALID", `the file of ${id} holds ${found.id}`);
    const conversation = { ...found, messages: found.messages.map(settled) };
    this.#keep(conversation);
    return conversation;
  }

  #keep(conversation: Conversation): void {
    this.#cache.delete(conversation.id);
    this.#cache.set(conversation.id, conversation);
    for (const [id, { messages }] of this.#cache) {
      if (this.#cache.size <= mostCached) return;
      // Read again, an answer in the making would be taken for an interrupted one.
      if (!messages.some((message) => message.state === "running")) this.#cache.delete(id);
    }
  }

  async #store(conversation: Conversation): Promise<void> {
    if (conversation.messages.length > limits.messages) throw limit(`more than ${limits.messages} messages`);
    const text = encodeConversation(conversation);
    if (Buffer.byteLength(text) > limits.conversationBytes)
      throw limit(`the conversation is larger than ${limits.conversationBytes / 2 ** 20} MiB; begin another`);
    const rows = await this.#index();
    await wrap(writeWhole(this.#folder, this.#path(conversation.id), text));
    const { id, title, createdAt, updatedAt, messages } = conversation;
    const before = rows.get(id);
    rows.set(id, { id, title, createdAt, updatedAt, messages: messages.length });
    this.#keep(conversation);
    if (before?.title !== title || before.updatedAt !== updatedAt) this.#onListed();
  }

  /** Ids are checked before: none can name another folder. */
  #path(id: string): string {
    return join(this.#folder, `${id}${suffix}`);
  }

  #inTurn<T>(id: string, work: () => Promise<T>): Promise<T> {
    const before = this.#turns.get(id) ?? Promise.resolve();
    const turn = before.then(work, work);
    const settledTurn = turn.catch(() => {});
    this.#turns.set(id, settledTurn);
    void settledTurn.then(() => {
      if (this.#turns.get(id) === settledTurn) this.#turns.delete(id);
    });
    return turn;
  }

  #index(): Promise<Map<string, Row>> {
    this.#rows ??= scan(this.#folder).catch((error) => {
      this.#rows = undefined;
      throw error;
    });
    return this.#rows;
  }
}

/** A file whose beginning makes no sense is left alone and not listed. */
async function scan(folder: string): Promise<Map<string, Row>> {
  const rows = new Map<string, Row>();
  let names: string[];
  try {
    names = await readdir(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return rows;
    throw ioError(error);
  }
  const buffer = Buffer.alloc(headerBytes);
  for (const name of names.sort().reverse()) {
    const id = name.slice(0, -suffix.length);
    if (!name.endsWith(suffix) || !idPattern.test(id) || rows.size >= limits.conversations) continue;
    try {
      const file = await open(join(folder, name), "r");
      const { bytesRead } = await file.read(buffer, 0, headerBytes, 0).finally(() => file.close());
      const row = decodeHeader(buffer.toString("utf8", 0, bytesRead).split("\n", 1)[0]!);
      if (row.id === id) rows.set(id, row);
    } catch {}
  }
  return rows;
}

async function writeWhole(folder: string, path: string, text: string): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const beside = `${path}.${randomBytes(6).toString("hex")}`;
  try {
    const file = await open(beside, "wx", 0o600);
    try {
      await file.writeFile(text);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(beside, path);
  } catch (error) {
    await rm(beside, { force: true });
    throw error;
  }
}

/** What was running when it was stored runs no more. */
function settled(message: Message): Message {
  return message.state === "running" ? { ...message, state: "interrupted" } : message;
}

/** The words around the first place of `wanted`, which is in lower case. */
function excerptOf(content: string, wanted: string): string | undefined {
  const at = content.toLowerCase().indexOf(wanted);
  if (at < 0) return undefined;
  const from = content.lastIndexOf(" ", Math.max(0, at - 12)) + 1;
  const words = content.slice(from, at + wanted.length + excerptCharacters).replace(/\s+/g, " ");
  return `${from > 0 ? "…" : ""}${words.trim()}`;
}

function limit(what: string): HundredweightError {
  return new HundredweightError("CONVERSATION_LIMIT", what);
}

function ioError(error: unknown): HundredweightError {
  return new HundredweightError("FILE_IO", `conversations: ${(error as Error).message}`, {}, { cause: error });
}

async function wrap<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    throw ioError(error);
  }
}
