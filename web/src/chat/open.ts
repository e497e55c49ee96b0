/** The conversation that is open: a copy of the server's, kept up to date by its events. */
import { branchTo } from "../../../src/server/ui/branch.js";
import type {
  AnswerProgress,
  Conversation,
  ConversationEvent,
  ConversationSampling,
  Message,
  SentMessage,
} from "../../../src/server/ui/wire.js";
import { events, request } from "../api.js";
import { announced, attempt, notify } from "../notices.js";
import { go, paths } from "../router.js";
import { Store } from "../store.js";
import { create } from "./conversations.js";

export interface Open {
  readonly id: string | undefined;
  /** Undefined until the snapshot came. */
  readonly conversation: Conversation | undefined;
  readonly progress: Readonly<Record<string, AnswerProgress>>;
  readonly linked: boolean;
}

export type Settings = Pick<Conversation, "system" | "sampling" | "form" | "seenFrom">;

const nothing: Open = { id: undefined, conversation: undefined, progress: {}, linked: true };

export const opened = new Store<Open>(nothing);
/** Settings for the conversation that does not exist yet. */
export const draftSettings = new Store<Settings>({ system: "", sampling: {} });

let end = () => {};

export function open(id: string | undefined): void {
  if (opened.value.id === id) return;
  end();
  end = () => {};
  clearTimeout(timer);
  timer = undefined;
  unseen = undefined;
  opened.set({ ...nothing, id });
  if (id === undefined) return;
  end = events<ConversationEvent>(`/ui/conversations/${id}/events`, {
    onEvent: (event) => take(id, event),
    onLink: (linked) => opened.set((before) => (before.id === id ? { ...before, linked } : before)),
    onRefused: (error) => {
      if (opened.value.id !== id || error.status !== 404) return;
      notify("error", "That conversation is no longer there.");
      go(paths.chat(), true);
    },
  });
}

type Delta = Extract<ConversationEvent, { type: "delta" }>;

/** Words that are not shown yet: rendering a long answer takes longer than a token of a fast model. */
let unseen: Delta | undefined;
let timer: ReturnType<typeof setTimeout> | undefined;
const frameMs = 33;
/** Characters that are rendered in about a millisecond. */
const charactersPerMs = 1000;

function flush(): void {
  clearTimeout(timer);
  timer = undefined;
  const delta = unseen;
  unseen = undefined;
  if (delta !== undefined) update(delta);
}

function take(id: string, event: ConversationEvent): void {
  if (opened.value.id !== id) return;
  if (event.type === "delta" && (unseen === undefined || unseen.id === event.id)) {
    unseen = unseen === undefined ? event : { ...unseen, text: unseen.text + event.text };
    timer ??= setTimeout(flush, frameMs + event.from / charactersPerMs);
    return;
  }
  flush();
  if (event.type === "snapshot") {
    opened.set((before) => ({ ...before, conversation: event.conversation, progress: event.progress }));
    return;
  }
  if (event.type === "deleted") {
    go(paths.chat(), true);
    return;
  }
  update(event);
  if (event.type === "message" && event.message.role === "assistant") announced.set(announcement(event.message));
}

function update(event: Exclude<ConversationEvent, { type: "snapshot" | "deleted" }>): void {
  opened.set((before) => {
    const { conversation } = before;
    if (conversation === undefined) return before;
    switch (event.type) {
      case "settings":
        return { ...before, conversation: { ...event.conversation, messages: conversation.messages } };
      case "progress":
        return { ...before, progress: { ...before.progress, [event.id]: event.progress } };
      case "message":
        return { ...before, conversation: { ...conversation, messages: put(conversation.messages, event.message) } };
      case "delta":
        return { ...before, conversation: { ...conversation, messages: append(conversation.messages, event) } };
    }
  });
}

function put(messages: readonly Message[], message: Message): readonly Message[] {
  const at = messages.findIndex((known) => known.id === message.id);
  return at < 0 ? [...messages, message] : messages.with(at, message);
}

function append(messages: readonly Message[], { id, from, text }: { id: string; from: number; text: string }) {
  const at = messages.findLastIndex((message) => message.id === id);
  const message = messages[at];
  return message === undefined
    ? messages
    : messages.with(at, { ...message, content: message.content.slice(0, from) + text });
}

function announcement(message: Message): string {
  switch (message.state) {
    case "running":
      return "The answer begins.";
    case "stopped":
      return "The answer was stopped.";
    case "failed":
      return `The answer failed: ${message.error?.message ?? ""}`;
    default:
      return `The answer is complete: ${message.content.slice(0, 1000)}`;
  }
}

const path = (tail = "") => `/ui/conversations/${opened.value.id}${tail}`;

/** @returns the answer that is written to it; undefined where the server did not take it */
export async function send(content: string): Promise<string | undefined> {
  const sent = await attempt(async () => {
    if (opened.value.id === undefined) {
      const conversation = await create(draftSettings.value);
      draftSettings.set({ system: "", sampling: {} });
      go(paths.chat(conversation.id));
      open(conversation.id);
    }
    const parent = opened.value.conversation?.leaf ?? null;
    return request<SentMessage>("POST", path("/messages"), { parent, content });
  });
  return sent?.answer;
}

/** A branch beside `message`: the same place in the tree, other words. */
export async function edit(message: Message, content: string): Promise<boolean> {
  return (
    (await attempt(() => request("POST", path("/messages"), { parent: message.parent, content }).then(() => true))) ===
    true
  );
}

/** @param sampling in place of the conversation's own settings of the same names */
export async function regenerate(answer: Message, sampling?: ConversationSampling): Promise<void> {
  await attempt(() =>
    request("POST", path("/answers"), { parent: answer.parent, ...(sampling !== undefined && { sampling }) }),
  );
}

/** An answer that was cut goes on. */
export async function goOn({ id }: Message): Promise<void> {
  await attempt(() => request("POST", path("/continue"), { message: id }));
}

/** Another conversation with the last turn of this one. */
export async function goOnInNew(leaf: string): Promise<void> {
  const made = await attempt(() => request<Conversation>("POST", path("/go-on"), { message: leaf }));
  if (made !== undefined) go(paths.chat(made.id));
}

/** Lets a message wait until the answer `after` has ended. @returns that; undefined where the server did not take it */
export function sendNextTo(after: string, content: string): Promise<string | undefined> {
  return attempt(() => request("POST", path("/next"), { after, content }).then(() => after));
}

export async function editNext(id: string, content: string): Promise<boolean> {
  return (await attempt(() => request("PATCH", path(`/next/${id}`), { content }).then(() => true))) === true;
}

export async function dropNext(id: string): Promise<void> {
  await attempt(() => request("DELETE", path(`/next/${id}`)));
}

export async function sendNext(id: string): Promise<void> {
  await attempt(() => request("POST", path(`/next/${id}/send`)));
}

/** Answers a user's message that has no answer on this branch. */
export async function answerTo(message: Message): Promise<void> {
  await attempt(() => request("POST", path("/answers"), { parent: message.id }));
}

export async function showBranch(id: string): Promise<void> {
  await attempt(() => request("PATCH", path(), { leaf: id }));
}

/** Stops the answer of the branch that is shown. */
export async function stop(): Promise<void> {
  const { messages = [], leaf = null } = opened.value.conversation ?? {};
  const running = branchTo(messages, leaf).find((message) => message.state === "running");
  if (running !== undefined) await stopOne(running.id);
}

export async function stopOne(message: string): Promise<void> {
  await attempt(() => request("POST", path("/stop"), { message }));
}

export async function change(settings: Partial<Settings>): Promise<void> {
  if (opened.value.id === undefined) {
    draftSettings.set((before) => ({ ...before, ...settings }));
    return;
  }
  // At once: the next change must not be built on what was there before this one.
  opened.set((before) =>
    before.conversation === undefined ? before : { ...before, conversation: { ...before.conversation, ...settings } },
  );
  // What is taken away has to be named.
  const body = "seenFrom" in settings ? { ...settings, seenFrom: settings.seenFrom ?? null } : settings;
  await attempt(() => request("PATCH", path(), body));
}
