/**
 * Answers of the page's conversations. They belong to the server: an answer goes on and is stored whether anybody looks
 * or not, and whoever opens its conversation gets what there is and then what comes.
 */
import { type CallBlock, splitCalls } from "../../chat/call-text.js";
import type { ChatMessage } from "../../chat/index.js";
import { splitThinking } from "../../chat/thinking-text.js";
import { asHundredweightError, HundredweightError } from "../../errors.js";
import { branchTo } from "./branch.js";
import { limits } from "./conversation-file.js";
import type { ConversationStore } from "./conversations.js";
import { newId } from "./ids.js";
import type {
  AnswerProgress,
  AnswerStats,
  Conversation,
  ConversationEvent,
  ConversationForm,
  ConversationSampling,
  Message,
} from "./wire.js";

export interface MakerRequest {
  readonly conversation: string;
  readonly messages: readonly ChatMessage[];
  readonly sampling: ConversationSampling;
  readonly form?: ConversationForm | undefined;
}

export interface MakerEvents {
  queued(ahead: number): void;
  /** It begins, and how long the prompt will take if nothing of it is cached; undefined where nobody knows. */
  started(promptTokens: number, expectedSeconds: number | undefined): void;
  /** After each pass over the prompt: positions there are, of how many, and those this pass added. */
  prompt(done: number, total: number, rows: number): void;
  token(text: string): void;
  /** Text that belongs to no new token. */
  text(text: string): void;
}

export interface MadeAnswer {
  readonly finishReason: "stop" | "length";
  readonly stats: AnswerStats;
}

export interface AnswerMaker {
  /** Name of the model that would answer now. */
  readonly model: string | undefined;
  /**
   * Takes a place among the answers of the server.
   * @returns gives it back
   * @throws when there is no model or no place
   */
  enter(): () => void;
  /** Rejects with CANCELLED after `signal`, else with what went wrong. */
  answer(request: MakerRequest, events: MakerEvents, signal: AbortSignal): Promise<MadeAnswer>;
}

interface Live {
  readonly conversation: string;
  readonly message: Message;
  readonly abort: AbortController;
  text: string;
  progress: AnswerProgress | undefined;
  /** From its first token on, by the clock of the server: of an answer that is cut nobody else tells. */
  stats: AnswerStats | undefined;
  full: boolean;
}

type Listener = (event: ConversationEvent) => void;

/** Text that a crash of the server may lose. */
const storeEveryMs = 2000;
const tellProgressEveryMs = 250;
/** Other servers may share the folder. */
const lookEveryMs = 2000;
const maxLivePerConversation = 4;
/** Tokens per second over this long. */
const rateWindowMs = 4000;

export class Answers {
  readonly #store: ConversationStore;
  readonly #maker: AnswerMaker;
  readonly #onRunning: () => void;
  readonly #live = new Map<string, Live>();
  readonly #listeners = new Map<string, Set<Listener>>();
  readonly #ends = new Set<Promise<void>>();
  #looking: NodeJS.Timeout | undefined;

  /** @param onRunning called when an answer begins or ends */
  constructor(store: ConversationStore, maker: AnswerMaker, onRunning: () => void = () => {}) {
    this.#store = store;
    this.#maker = maker;
    this.#onRunning = onRunning;
    store.onChangedElsewhere = (conversation) => this.publish(conversation.id, this.snapshot(conversation));
  }

  running(conversation: string): boolean {
    return [...this.#live.values()].some((live) => live.conversation === conversation);
  }

  /** Tells everyone who looks at the conversation. */
  publish(conversation: string, event: ConversationEvent): void {
    for (const listener of this.#listeners.get(conversation) ?? []) listener(event);
  }

  /** The first event is a snapshot; nothing is missed and nothing comes twice. */
  async watch(id: string, listener: Listener): Promise<() => void> {
    const conversation = await this.#store.read(id);
    const listeners = this.#listeners.get(id) ?? new Set();
    this.#listeners.set(id, listeners);
    listeners.add(listener);
    listener(this.snapshot(conversation));
    this.#looking ??= setInterval(() => this.#look(), lookEveryMs).unref();
    return () => {
      listeners.delete(listener);
      if (listeners.size === 0 && this.#listeners.get(id) === listeners) this.#listeners.delete(id);
    };
  }

  /** Whether another server has changed what somebody looks at here: reading it tells. */
  #look(): void {
    if (this.#listeners.size === 0) {
      clearInterval(this.#looking);
      this.#looking = undefined;
    }
    for (const id of this.#listeners.keys()) {
      this.#store.read(id).catch((error) => {
        if (asHundredweightError(error).code === "CONVERSATION_UNKNOWN") this.publish(id, { type: "deleted" });
      });
    }
  }

  snapshot(conversation: Conversation): Extract<ConversationEvent, { type: "snapshot" }> {
    const progress: Record<string, AnswerProgress> = {};
    const messages = conversation.messages.map((message) => {
      const live = this.#live.get(message.id);
      if (live?.progress !== undefined) progress[message.id] = live.progress;
      return live === undefined ? message : { ...message, content: live.text };
    });
    return { type: "snapshot", conversation: { ...conversation, messages }, progress };
  }

  /**
   * Adds what a user wrote after `parent` and begins the answer; two messages with one parent are branches.
   * @throws CONVERSATION_UNKNOWN, CONVERSATION_LIMIT, OPTION_INVALID, FILE_IO
   */
  async send(id: string, parent: string | null, content: string): Promise<Message> {
    const message: Message = { id: newId(), parent, role: "user", content, createdAt: new Date().toISOString() };
    const leave = this.#maker.enter();
    const add = (before: Conversation) => {
      mustFollow(before, parent, "assistant");
      this.#mustHaveRoom(id);
      const title =
        before.messages.length === 0 && before.title === "New conversation" ? titleOf(content) : before.title;
      return { title, messages: [...before.messages, message], leaf: message.id };
    };
    const after = await this.#store.update(id, add).catch((error) => {
      leave();
      throw error;
    });
    this.publish(id, { type: "message", message });
    this.publishSettings(after);
    await this.#begin(id, message.id, leave);
    return message;
  }

  /** Begins one more answer to a user's message. @throws as send */
  begin(id: string, parent: string): Promise<Message> {
    return this.#begin(id, parent, this.#maker.enter());
  }

  async #begin(id: string, parent: string, leave: () => void): Promise<Message> {
    const model = this.#maker.model;
    const message: Message = {
      id: newId(),
      parent,
      role: "assistant",
      content: "",
      createdAt: new Date().toISOString(),
      state: "running",
      ...(model !== undefined && { model }),
    };
    const live: Live = {
      conversation: id,
      message,
      abort: new AbortController(),
      text: "",
      progress: undefined,
      stats: undefined,
      full: false,
    };
    const add = (before: Conversation) => {
      mustFollow(before, parent, "user");
      this.#mustHaveRoom(id);
      this.#live.set(message.id, live);
      return { messages: [...before.messages, message], leaf: message.id };
    };
    const conversation = await this.#store.update(id, add).catch((error) => {
      this.#live.delete(message.id);
      leave();
      throw error;
    });
    this.publish(id, { type: "message", message });
    this.publishSettings(conversation);
    const end = this.#run(live, conversation).finally(() => {
      this.#ends.delete(end);
      leave();
    });
    this.#ends.add(end);
    return message;
  }

  publishSettings({ messages: _, ...conversation }: Conversation): void {
    this.publish(conversation.id, { type: "settings", conversation });
  }

  /** Stops an answer; what there is stays. */
  stop(conversation: string, message: string): boolean {
    const live = this.#live.get(message);
    if (live?.conversation !== conversation) return false;
    live.abort.abort();
    return true;
  }

  /** Stops those of a conversation, or all, and waits until they are stored. */
  async stopAll(conversation?: string): Promise<void> {
    for (const live of this.#live.values())
      if (conversation === undefined || live.conversation === conversation) live.abort.abort();
    await Promise.all(this.#ends);
  }

  /** Waits until every answer has ended by itself. */
  async drain(): Promise<void> {
    await Promise.all(this.#ends);
  }

  #mustHaveRoom(id: string): void {
    const running = [...this.#live.values()].filter((live) => live.conversation === id).length;
    if (running >= maxLivePerConversation)
      throw new HundredweightError("CONVERSATION_LIMIT", `${running} answers are being written here already`);
  }

  async #run(live: Live, conversation: Conversation): Promise<void> {
    let stored = Promise.resolve();
    let storing = false;
    const timer = setInterval(() => {
      if (storing || live.text === "") return;
      storing = true;
      const done = () => {
        storing = false;
      };
      // A failure is told when the end cannot be written either.
      stored = this.#write(live, { ...live.message, content: live.text }).then(done, done);
    }, storeEveryMs);
    let ended: Message;
    try {
      const request = requestOf(conversation, live.message.parent);
      const made = await this.#maker.answer(request, this.#eventsOf(live), live.abort.signal);
      ended = { ...live.message, content: live.text, state: made.finishReason, stats: made.stats };
    } catch (thrown) {
      const { code, message } = asHundredweightError(thrown);
      const stopped = live.abort.signal.aborted; // else the server ends
      const state = live.full ? "length" : code !== "CANCELLED" ? "failed" : stopped ? "stopped" : "interrupted";
      const stats = live.stats === undefined ? {} : { stats: live.stats };
      const failure = state === "failed" ? { error: { code, message } } : {};
      ended = { ...live.message, content: live.text, state, ...failure, ...stats };
    } finally {
      clearInterval(timer);
    }
    await stored;
    try {
      this.publishSettings(await this.#store.finish(live.conversation, ended));
    } catch (thrown) {
      const { code, message } = asHundredweightError(thrown);
      // Its conversation is gone: nobody wants to know.
      if (code !== "CONVERSATION_UNKNOWN")
        ended = { ...ended, error: { code, message: `the answer could not be stored: ${message}` } };
    }
    this.#live.delete(live.message.id);
    this.#onRunning();
    this.publish(live.conversation, { type: "message", message: ended });
  }

  #write(live: Live, message: Message): Promise<Conversation> {
    const replace = (before: Conversation) => ({
      messages: before.messages.map((old) => (old.id === message.id ? message : old)),
    });
    return this.#store.update(live.conversation, replace, { touch: false });
  }

  #eventsOf(live: Live): MakerEvents {
    const { conversation, message } = live;
    const append = (text: string) => {
      if (text === "" || live.full) return;
      const from = live.text.length;
      const room = limits.messageCharacters - from;
      live.text += text.slice(0, room);
      this.publish(conversation, { type: "delta", id: message.id, from, text: text.slice(0, room) });
      if (text.length >= room) {
        live.full = true;
        live.abort.abort();
      }
    };
    let told = Number.NEGATIVE_INFINITY;
    const tell = (progress: AnswerProgress, now: number) => {
      live.progress = progress;
      if (now - told < tellProgressEveryMs) return;
      told = now;
      this.publish(conversation, { type: "progress", id: message.id, progress });
    };
    let promptBegan = performance.now();
    let promptRows = 0;
    let promptTokens = 0;
    let cachedTokens = 0;
    let firstTokenAt = 0;
    let tokens = 0;
    const recent: { at: number; tokens: number }[] = [];
    return {
      queued: (ahead) => {
        told = Number.NEGATIVE_INFINITY;
        promptBegan = performance.now();
        tell({ phase: "queued", ahead }, promptBegan);
      },
      started: (total, expectedSeconds) => {
        told = Number.NEGATIVE_INFINITY;
        promptBegan = performance.now();
        promptTokens = total;
        const known = expectedSeconds === undefined ? {} : { remainingSeconds: expectedSeconds };
        tell({ phase: "prompt", done: 0, total, elapsedSeconds: 0, ...known }, promptBegan);
      },
      prompt: (done, total, rows) => {
        const now = performance.now();
        if (promptRows === 0) cachedTokens = Math.max(0, done - rows);
        promptRows += rows; // cached positions took no time
        const elapsedSeconds = (now - promptBegan) / 1000;
        const remainingSeconds = promptRows > 0 ? ((total - done) * elapsedSeconds) / promptRows : undefined;
        const known = remainingSeconds === undefined ? {} : { remainingSeconds };
        told = Number.NEGATIVE_INFINITY;
        tell({ phase: "prompt", done, total, elapsedSeconds, ...known }, now);
      },
      token: (text) => {
        append(text);
        const at = performance.now();
        if (tokens++ === 0) firstTokenAt = at;
        const [prefillMs, decodeMs] = [firstTokenAt - promptBegan, at - firstTokenAt];
        live.stats = { promptTokens, cachedTokens, generatedTokens: tokens, prefillMs, decodeMs };
        recent.push({ at, tokens });
        while (recent.length > 2 && recent[1]!.at < at - rateWindowMs) recent.shift();
        const seconds = (at - recent[0]!.at) / 1000;
        const tokensPerSecond = seconds > 0 ? (tokens - recent[0]!.tokens) / seconds : 0;
        tell({ phase: "answer", tokens, tokensPerSecond }, at);
      },
      text: append,
    };
  }
}

/** Earlier thinking is not repeated to the model: its makers train it without. */
function requestOf(conversation: Conversation, leaf: string | null): MakerRequest {
  const messages: ChatMessage[] = [];
  let called: readonly CallBlock[] = [];
  for (const { role, content } of branchTo(conversation.messages, leaf)) {
    if (role === "assistant") {
      const said = saidOf(splitThinking(content).answer);
      called = said.calls;
      messages.push(said.message);
    } else if (called.length === 0) messages.push({ role, content });
    // What is written behind a call is its result.
    else for (const { id, name } of called) messages.push({ role: "tool", tool_call_id: id, name, content });
  }
  if (conversation.system !== "") messages.unshift({ role: "system", content: conversation.system });
  const { sampling, form } = conversation;
  return { conversation: conversation.id, messages, sampling, ...(form !== undefined && { form }) };
}

function saidOf(answer: string): { readonly message: ChatMessage; readonly calls: readonly CallBlock[] } {
  const parts = splitCalls(answer);
  const calls = parts.flatMap((part) => ("call" in part && part.call.whole ? [part.call] : []));
  if (calls.length === 0) return { message: { role: "assistant", content: answer }, calls };
  const text = parts.flatMap((part) => ("text" in part ? [part.text] : [])).join("\n\n");
  const made = calls.map(({ id, name, arguments: json }) => ({
    id,
    type: "function",
    function: { name, arguments: json },
  }));
  return { message: { role: "assistant", content: text === "" ? null : text, tool_calls: made }, calls };
}

function mustFollow(conversation: Conversation, parent: string | null, role: Message["role"]): void {
  if (parent === null && role === "assistant") return;
  const found = conversation.messages.find((message) => message.id === parent);
  if (found === undefined) throw new HundredweightError("CONVERSATION_UNKNOWN", "there is no such message");
  if (found.role !== role)
    throw new HundredweightError("OPTION_INVALID", `parent: is a message of the ${found.role}, not of the ${role}`);
  if (found.state === "running") throw new HundredweightError("OPTION_INVALID", "parent: is still being written");
}

function titleOf(content: string): string {
  const line = content.trim().split("\n", 1)[0]!.replace(/\s+/g, " ").trim();
  const characters = [...line];
  return characters.length <= 60 ? line || "New conversation" : `${characters.slice(0, 59).join("")}…`;
}
