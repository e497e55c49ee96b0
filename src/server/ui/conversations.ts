/**
 * Conversations kept as files of one folder, which other servers may use at the same time: a file is compared before it
 * is replaced, under a lock, and read again when somebody else has changed it, so that changes join and none is lost.
 * Conversations in use are in memory; so are answers that could not be written, until they can.
 */
import { asHundredweightError, HundredweightError } from "../../errors.js";
import { dataFolder, thisUser } from "../../user-folders.js";
import { checkConversation, encodeConversation, limits } from "./conversation-file.js";
import { ConversationFolder, type Row, type Stamp } from "./conversation-folder.js";
import { idPattern, newId } from "./ids.js";
import { Unsaved } from "./unsaved.js";
import type { Conversation, Message } from "./wire.js";

export type FoundRow = Row & { readonly excerpt?: string };

/** Conversations kept in memory beyond those somebody holds. */
const maxCached = 8;
/** A search reads files, the latest first, for as long as this. */
const maxSearchMs = 1000;
/** One letter is in every message. */
const minSearched = 2;
const excerptCharacters = 60;

export const defaultDataFolder = (env: NodeJS.ProcessEnv = process.env): string => dataFolder(thisUser(env));

interface Held {
  /** As in the file, with what could not be written yet. */
  readonly conversation: Conversation;
  /** The stamp of the file; undefined when it has not been written. */
  readonly stamp: Stamp | undefined;
}

export interface StoreOptions {
  /** Called when the list has changed. */
  readonly onListed?: () => void;
  readonly log?: (line: string) => void;
  /** @internal Tests let writing fail. */
  readonly files?: ConversationFolder;
}

export class ConversationStore {
  readonly #files: ConversationFolder;
  readonly #onListed: () => void;
  readonly #cache = new Map<string, Held>();
  /** Answers that are being made here; one that runs and is not among them is another server's, or was interrupted. */
  readonly #ours = new Set<string>();
  readonly #unsaved: Unsaved;
  /** Conversations are read and written one operation after the other. */
  readonly #turns = new Map<string, Promise<unknown>>();

  /** Told of a conversation that another server has changed since it was last read here. */
  onChangedElsewhere: (conversation: Conversation) => void = () => {};

  /** @param folder is made when something is first written */
  constructor(folder: string, { onListed = () => {}, log = () => {}, files }: StoreOptions = {}) {
    this.#files = files ?? new ConversationFolder(folder, log);
    this.#onListed = onListed;
    this.#unsaved = new Unsaved((id) => this.#change(id, () => ({}), true).then(() => {}), log);
  }

  /**
   * The latest first; of a search those that hold the words in their title or, as far as there is time, in a message.
   */
  async list(search = ""): Promise<FoundRow[]> {
    const wanted = search.trim().toLowerCase();
    const rows = (await this.#files.rows()).sort((a, b) =>
      a.updatedAt < b.updatedAt ? 1 : a.updatedAt > b.updatedAt ? -1 : a.id < b.id ? 1 : -1,
    );
    if (wanted === "") return rows;
    const found: FoundRow[] = [];
    const end = performance.now() + maxSearchMs;
    for (const row of rows) {
      if (row.title.toLowerCase().includes(wanted)) found.push(row);
      else if (wanted.length >= minSearched && performance.now() < end) {
        const excerpt = await this.#excerpt(row.id, wanted);
        if (excerpt !== undefined) found.push({ ...row, excerpt });
      }
    }
    return found;
  }

  async #excerpt(id: string, wanted: string): Promise<string | undefined> {
    // A damaged file holds nothing that can be shown, and one that is deleted meanwhile neither.
    const cached = this.#cache.get(id)?.conversation;
    const conversation = cached ?? (await this.#files.read(id).catch(() => undefined));
    return conversation?.messages.map(({ content }) => excerptOf(content, wanted)).find((text) => text !== undefined);
  }

  /** @throws CONVERSATION_UNKNOWN, FORMAT_INVALID, FILE_NOT_REGULAR, FILE_IO */
  read(id: string): Promise<Conversation> {
    return this.#inTurn(id, async () => this.#shown((await this.#load(id)).conversation));
  }

  /** @throws CONVERSATION_LIMIT, FILE_IO */
  async create(
    from: Partial<Pick<Conversation, "title" | "system" | "sampling" | "form">> = {},
  ): Promise<Conversation> {
    const now = new Date().toISOString();
    return this.#add({
      id: newId(),
      title: from.title ?? "New conversation",
      createdAt: now,
      updatedAt: now,
      system: from.system ?? "",
      sampling: from.sampling ?? {},
      ...(from.form !== undefined && { form: from.form }),
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
   * Replaces what `change` gives of the conversation as it is now, whoever changed it last. Its time of change moves
   * unless `touch` is false.
   * @throws CONVERSATION_UNKNOWN, CONVERSATION_LIMIT, FILE_IO
   */
  update(
    id: string,
    change: (conversation: Conversation) => Partial<Omit<Conversation, "id">>,
    { touch = true }: { readonly touch?: boolean } = {},
  ): Promise<Conversation> {
    return this.#change(id, change, touch);
  }

  /**
   * Stores an answer that has ended. When that fails (a full disk) it is kept in memory, shown as if it were stored,
   * and written when that works again.
   * @throws CONVERSATION_UNKNOWN, CONVERSATION_LIMIT
   */
  async finish(id: string, message: Message): Promise<Conversation> {
    try {
      return await this.update(id, (before) => ({ messages: replaced(before.messages, [message]) }));
    } catch (thrown) {
      const { code, message: why } = asHundredweightError(thrown);
      const held = this.#cache.get(id)?.conversation;
      if (code === "CONVERSATION_UNKNOWN" || code === "CONVERSATION_LIMIT" || held === undefined) throw thrown;
      this.#unsaved.keep(id, message, why);
      return this.#shown(this.#withUnsaved(held));
    } finally {
      this.#ours.delete(message.id);
    }
  }

  /** Answers that are in memory only. */
  get unsaved(): number {
    return this.#unsaved.count;
  }

  /** Tries once more to write what could not be written, and says what is lost. */
  end(): Promise<void> {
    return this.#unsaved.end();
  }

  /** @throws CONVERSATION_UNKNOWN, FILE_IO */
  delete(id: string): Promise<void> {
    return this.#inTurn(id, () =>
      this.#files.locked(async () => {
        if (!idPattern.test(id) || (await this.#files.stamp(id)) === undefined) throw unknown();
        await this.#files.delete(id);
        this.#forget(id);
        this.#onListed();
      }),
    );
  }

  async #add(conversation: Conversation): Promise<Conversation> {
    const { length } = await this.#files.rows();
    if (length >= limits.conversations) throw limit(`there are ${length} conversations already; delete some`);
    const { id } = conversation;
    const added = await this.#inTurn(id, () =>
      this.#files.locked(async () => {
        if ((await this.#files.stamp(id)) !== undefined) return undefined;
        await this.#store(conversation);
        this.#onListed();
        return conversation;
      }),
    );
    return added ?? this.#add({ ...conversation, id: newId() });
  }

  #change(
    id: string,
    change: (conversation: Conversation) => Partial<Omit<Conversation, "id">>,
    touch: boolean,
  ): Promise<Conversation> {
    return this.#inTurn(id, async () => {
      if (!idPattern.test(id)) throw unknown();
      return this.#files.locked(async () => {
        const { conversation: before } = await this.#load(id);
        const updatedAt = touch ? new Date().toISOString() : before.updatedAt;
        const shown = this.#shown(before);
        const changed = { ...shown, updatedAt, ...change(shown) };
        // Another server's running answer is shown as interrupted, and stays in the file as it is.
        const after = { ...changed, messages: changed.messages.map((message) => rawOf.get(message) ?? message) };
        const fresh = runningOf(after).filter((message) => !before.messages.includes(message));
        for (const message of fresh) this.#ours.add(message.id);
        await this.#store(after);
        this.#unsaved.written(id);
        const listed = ["title", "updatedAt", "pinned", "folder", "next"] as const;
        if (listed.some((name) => before[name] !== after[name])) this.#onListed();
        return this.#shown(after);
      });
    });
  }

  /** As the file is now, read again when it is another one than before. */
  async #load(id: string): Promise<Held> {
    const stamp = idPattern.test(id) ? await this.#files.stamp(id) : undefined;
    if (stamp === undefined) {
      this.#forget(id);
      throw unknown();
    }
    const cached = this.#cache.get(id);
    const known = cached?.stamp === stamp ? cached.conversation : await this.#files.read(id);
    // A rename may come between asking and reading: then the next look finds another stamp, and reads once more.
    const held = { conversation: this.#withUnsaved(known), stamp };
    this.#keep(held);
    if (cached?.stamp !== undefined && cached.stamp !== stamp) this.onChangedElsewhere(this.#shown(held.conversation));
    return held;
  }

  #withUnsaved(conversation: Conversation): Conversation {
    const messages = this.#unsaved.of(conversation.id);
    return messages.length === 0
      ? conversation
      : { ...conversation, messages: replaced(conversation.messages, messages) };
  }

  #keep(held: Held): void {
    this.#cache.delete(held.conversation.id);
    this.#cache.set(held.conversation.id, held);
    for (const [id, { conversation }] of this.#cache) {
      if (this.#cache.size <= maxCached) return;
      // What is being made, or could not be written, is to be shown also when the file cannot be read.
      const needed = this.#unsaved.of(id).length > 0 || conversation.messages.some((each) => this.#ours.has(each.id));
      if (!needed) this.#cache.delete(id);
    }
  }

  #forget(id: string): void {
    for (const { id: message } of this.#cache.get(id)?.conversation.messages ?? []) this.#ours.delete(message);
    this.#cache.delete(id);
    this.#unsaved.drop(id);
  }

  async #store(conversation: Conversation): Promise<void> {
    const { id, messages } = conversation;
    if (messages.length > limits.messages) throw limit(`more than ${limits.messages} messages`);
    const text = encodeConversation(conversation);
    if (Buffer.byteLength(text) > limits.conversationBytes)
      throw limit(`the conversation is larger than ${limits.conversationBytes / 2 ** 20} MiB; begin another`);
    await this.#files.write(id, text);
    this.#keep({ conversation, stamp: await this.#files.stamp(id) });
  }

  /** An answer that runs, and not here, is interrupted as far as anybody here can tell. */
  #shown(conversation: Conversation): Conversation {
    const foreign = (message: Message) => message.state === "running" && !this.#ours.has(message.id);
    if (!conversation.messages.some(foreign)) return conversation;
    const messages = conversation.messages.map((message) => {
      if (!foreign(message)) return message;
      const shown = settled(message);
      rawOf.set(shown, message);
      return shown;
    });
    return { ...conversation, messages };
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
}

/** The message in the file behind one that is shown as interrupted. */
const rawOf = new WeakMap<Message, Message>();

const runningOf = ({ messages }: Conversation): Message[] => messages.filter(({ state }) => state === "running");

/** Those of the same name give way. */
function replaced(messages: readonly Message[], by: readonly Message[]): Message[] {
  const found = new Map(by.map((message) => [message.id, message]));
  return messages.map((message) => found.get(message.id) ?? message);
}

/** An answer that was running when it was stored runs no more. */
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

function unknown(): HundredweightError {
  return new HundredweightError("CONVERSATION_UNKNOWN", "there is no such conversation");
}
