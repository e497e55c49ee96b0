/**
 * Answers of the page's conversations. They belong to the server: an answer goes on and is stored whether anybody looks
 * or not, and whoever opens its conversation gets what there is and then what comes.
 */
import { randomInt } from "node:crypto";
import { asHundredweightError, HundredweightError } from "../../errors.js";
import type { AnswerMaker, GoOn } from "./answer-maker-types.js";
import { messagesOf } from "./answer-request.js";
import { type StoredMessage, shownMessage } from "./conversation-file.js";
import type { ConversationStore } from "./conversations.js";
import { newId } from "./ids.js";
import { LiveAnswer } from "./live-answer.js";
import type {
  AnswerProgress,
  Conversation,
  ConversationEvent,
  ConversationSampling,
  Message,
  SentMessage,
} from "./wire.js";

type Listener = (event: ConversationEvent) => void;

/** Text that a crash of the server may lose. */
const storeEveryMs = 2000;
/** Other servers may share the folder. */
const lookEveryMs = 2000;
const maxLivePerConversation = 4;
/** Ends of answers behind which more may come. */
const cutStates: ReadonlySet<Message["state"]> = new Set(["stopped", "length", "interrupted", "failed"]);

export interface BeginOptions {
  /** In place of the conversation's own settings of the same names. */
  readonly sampling?: ConversationSampling | undefined;
}

export class Answers {
  readonly #store: ConversationStore;
  readonly #maker: AnswerMaker;
  readonly #onRunning: () => void;
  readonly #live = new Map<string, LiveAnswer>();
  readonly #listeners = new Map<string, Set<Listener>>();
  readonly #ends = new Set<Promise<void>>();
  #looking: NodeJS.Timeout | undefined;

  /** Called when an answer has ended and is stored. */
  onEnded: (conversation: string, message: Message) => void = () => {};

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

  /** The answers that are being made, with the conversations they belong to. */
  get all(): readonly {
    readonly conversation: string;
    readonly message: string;
    readonly progress?: AnswerProgress;
  }[] {
    return [...this.#live.values()].map(({ conversation, message, progress }) => ({
      conversation,
      message: message.id,
      ...(progress !== undefined && { progress }),
    }));
  }

  isLive(message: string): boolean {
    return this.#live.has(message);
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
    for (const { id } of conversation.messages) {
      const of = this.#live.get(id)?.progress;
      if (of !== undefined) progress[id] = of;
    }
    const messages = this.stored(conversation).messages.map(shownMessage);
    return { type: "snapshot", conversation: { ...conversation, messages }, progress };
  }

  /** As a file would have it now: with what answers that are being made are by now, and what cut ones go on with. */
  stored(conversation: Conversation): Conversation {
    const messages = conversation.messages.map((message) => this.#live.get(message.id)?.stored ?? message);
    return { ...conversation, messages };
  }

  /**
   * Adds what a user wrote after `parent` and begins the answer; two messages with one parent are branches.
   * @param also changes the conversation in the same step
   * @throws CONVERSATION_UNKNOWN, CONVERSATION_LIMIT, OPTION_INVALID, FILE_IO, and what the maker throws for want of
   * room
   */
  async send(
    id: string,
    parent: string | null,
    content: string,
    also: (before: Conversation, answer: string) => Partial<Conversation> = () => ({}),
  ): Promise<SentMessage> {
    const message: Message = { id: newId(), parent, role: "user", content, createdAt: new Date().toISOString() };
    const live = await this.#begin(id, (before) => {
      mustFollow(before, parent, "assistant");
      const answer = this.#newAnswer(before, message.id, {});
      const title =
        before.messages.length === 0 && before.title === "New conversation" ? titleOf(content) : before.title;
      const messages = [...before.messages, message, answer];
      return { answer, change: { title, messages, leaf: answer.id, ...also(before, answer.id) } };
    });
    this.#start(live, [message]);
    return { ...message, answer: live.answer.message.id };
  }

  /** Begins one more answer to a user's message. @throws as send */
  async begin(id: string, parent: string, { sampling = {} }: BeginOptions = {}): Promise<Message> {
    const live = await this.#begin(id, (before) => {
      mustFollow(before, parent, "user");
      const answer = this.#newAnswer(before, parent, sampling);
      return { answer, change: { messages: [...before.messages, answer], leaf: answer.id } };
    });
    this.#start(live, []);
    return shownMessage(live.answer.message);
  }

  /**
   * An answer that was cut goes on, in the same message: with the tokens and the random numbers it would have had.
   * Where another model answers now, or its tokens are not known, its text goes on.
   * @throws as send
   */
  async goOn(id: string, message: string): Promise<Message> {
    const live = await this.#begin(id, (before) => {
      const found: StoredMessage | undefined = before.messages.find((one) => one.id === message);
      if (found === undefined) throw new HundredweightError("CONVERSATION_UNKNOWN", "there is no such message");
      if (!cutStates.has(found.state) || this.#live.has(message))
        throw new HundredweightError("OPTION_INVALID", "message: only an answer that was cut can go on");
      const { error: _, cut: __, resume, ...kept } = found;
      const { model } = this.#maker;
      const same = resume !== undefined && found.model === model;
      const answer: StoredMessage = {
        ...kept,
        state: "running",
        ...(model !== undefined && { model }),
        ...(same && { resume }),
      };
      return { answer, change: { messages: before.messages.map((one) => (one.id === message ? answer : one)) } };
    });
    this.#start(live, []);
    return shownMessage(live.answer.message);
  }

  #newAnswer(before: Conversation, parent: string, sampling: ConversationSampling): Message {
    const { model } = this.#maker;
    return {
      id: newId(),
      parent,
      role: "assistant",
      content: "",
      createdAt: new Date().toISOString(),
      state: "running",
      ...(model !== undefined && { model }),
      // A seed that is known can be asked for again.
      sampling: { seed: randomInt(2 ** 47), ...before.sampling, ...sampling },
      ...(before.seenFrom !== undefined && { seenFrom: before.seenFrom }),
    };
  }

  /** Stores an answer that begins, with a place among those of the server. */
  async #begin(
    id: string,
    change: (before: Conversation) => { readonly answer: StoredMessage; readonly change: Partial<Conversation> },
  ): Promise<Begun> {
    const leave = this.#maker.enter();
    let answer: LiveAnswer | undefined;
    const add = (before: Conversation) => {
      const begun = change(before);
      this.#mustHaveRoom(id);
      const longest = longestOf(before, begun.answer);
      answer = new LiveAnswer(id, begun.answer, longest, (event) => this.publish(id, event));
      this.#live.set(begun.answer.id, answer);
      return begun.change;
    };
    try {
      const conversation = await this.#store.update(id, add);
      return { answer: answer!, conversation, leave };
    } catch (error) {
      if (answer !== undefined) this.#live.delete(answer.message.id);
      leave();
      throw error;
    }
  }

  #start({ answer, conversation, leave }: Begun, before: readonly Message[]): void {
    const { id } = conversation;
    for (const message of [...before, shownMessage(answer.message)]) this.publish(id, { type: "message", message });
    this.publishSettings(conversation);
    const end = this.#run(answer, conversation).then((ended) => {
      this.#ends.delete(end);
      leave();
      this.onEnded(id, ended);
    });
    this.#ends.add(end);
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

  async #run(live: LiveAnswer, conversation: Conversation): Promise<Message> {
    let stored = Promise.resolve();
    let storing = false;
    let storedText = live.text;
    const timer = setInterval(() => {
      if (storing || live.text === storedText) return;
      storing = true;
      storedText = live.text;
      const done = () => {
        storing = false;
      };
      // A failure is told when the end cannot be written either.
      stored = this.#write(live).then(done, done);
    }, storeEveryMs);
    let ended = await this.#made(live, conversation).finally(() => clearInterval(timer));
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
    const shown = shownMessage(ended);
    this.publish(live.conversation, { type: "message", message: shown });
    return shown;
  }

  /** @returns the answer as it ended */
  async #made(live: LiveAnswer, conversation: Conversation): Promise<StoredMessage> {
    const { message } = live;
    const longest = longestOf(conversation, message);
    try {
      const { form } = conversation;
      const { maxTokens: _, ...sampling } = message.sampling ?? conversation.sampling;
      const request = {
        conversation: conversation.id,
        messages: messagesOf(conversation, message.parent),
        sampling: { ...sampling, ...(longest !== undefined && { maxTokens: longest }) },
        ...(form !== undefined && { form }),
        ...goOnOf(message),
      };
      const { finishReason: state, stats } = await this.#maker.answer(request, live.events, live.abort.signal);
      const { resume, ...ended }: StoredMessage = { ...live.stored, state, stats: live.statsWith(stats) };
      if (state === "stop") return { ...ended, ...(resume && { tokens: resume.tokens }) };
      const maxTokens = mostOf(conversation, message);
      const byLength = longest !== undefined && stats.generatedTokens >= longest;
      return { ...ended, ...(resume && { resume }), cut: byLength ? (maxTokens ?? longest) : "context" };
    } catch (thrown) {
      const { code, message: why } = asHundredweightError(thrown);
      const stopped = live.abort.signal.aborted; // else the server ends
      const state = live.full ? "length" : code !== "CANCELLED" ? "failed" : stopped ? "stopped" : "interrupted";
      const { stats } = live;
      const failure = state === "failed" ? { error: { code, message: why } } : {};
      return { ...live.stored, state, ...failure, ...(stats !== undefined && { stats }) };
    }
  }

  #write(live: LiveAnswer): Promise<Conversation> {
    const message = live.stored;
    const replace = (before: Conversation) => ({
      messages: before.messages.map((old) => (old.id === message.id ? message : old)),
    });
    return this.#store.update(live.conversation, replace, { touch: false });
  }
}

interface Begun {
  readonly answer: LiveAnswer;
  readonly conversation: Conversation;
  readonly leave: () => void;
}

/** The longest answer: one that is begun has settings of its own, one that goes on is as long as those of today say. */
function mostOf({ sampling }: Conversation, { sampling: own, stats }: Message): number | undefined {
  return stats === undefined ? (own ?? sampling).maxTokens : sampling.maxTokens;
}

/** Tokens an answer may still have: of one that goes on what is left, or as many again where it had all of them. */
function longestOf(conversation: Conversation, message: Message): number | undefined {
  const longest = mostOf(conversation, message);
  if (longest === undefined) return undefined;
  const made = message.stats?.generatedTokens ?? 0;
  return made < longest ? longest - made : longest;
}

function goOnOf({ content, resume }: StoredMessage): { readonly goOn?: GoOn } {
  return content === "" && resume === undefined ? {} : { goOn: { content, resume } };
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
