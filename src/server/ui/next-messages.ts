/**
 * Messages that are sent when the answer before them has ended, whether a page is open or not. They are stored with
 * their conversation; after a restart an answer that was interrupted goes on, and what waits behind it is sent.
 */
import { asHundredweightError, HundredweightError } from "../../errors.js";
import type { Answers } from "./answers.js";
import { limits } from "./conversation-file.js";
import type { ConversationStore } from "./conversations.js";
import { newId } from "./ids.js";
import type { Seats } from "./seats.js";
import type { Conversation, Message, NextMessage, QueueRow } from "./wire.js";

/** How often one is tried again for which there was no room, or no model. */
const tryAgainMs = 1000;
/** Characters of a message that a list shows. */
const excerptCharacters = 120;

export class NextMessages {
  readonly #store: ConversationStore;
  readonly #answers: Answers;
  readonly #seats: Seats;
  readonly #log: (line: string) => void;
  /** Conversations whose next message could not be sent yet. */
  readonly #due = new Map<string, string>();
  /** Messages that follow an answer which was stopped for them. */
  readonly #now = new Set<string>();
  readonly #work = new Set<Promise<unknown>>();
  #timer: NodeJS.Timeout | undefined;

  constructor(store: ConversationStore, answers: Answers, seats: Seats, log: (line: string) => void) {
    this.#store = store;
    this.#answers = answers;
    this.#seats = seats;
    this.#log = log;
    answers.onEnded = (conversation, message) => this.#ended(conversation, message);
  }

  /**
   * Lets a message wait for the end of an answer, or sends it where that has ended meanwhile.
   * @throws CONVERSATION_UNKNOWN, CONVERSATION_LIMIT, FILE_IO
   */
  async add(id: string, after: string, content: string): Promise<NextMessage> {
    const next: NextMessage = { id: newId(), after, content, createdAt: new Date().toISOString() };
    const seat = await this.#seats.own();
    let running = false;
    await this.#change(id, (before) => {
      const answer = before.messages.find((message) => message.id === after);
      if (answer?.role !== "assistant")
        throw new HundredweightError("CONVERSATION_UNKNOWN", "after: there is no such answer");
      running = answer.state === "running";
      const waiting = before.next ?? [];
      if (waiting.length >= limits.nextMessages)
        throw new HundredweightError("CONVERSATION_LIMIT", `${waiting.length} messages wait here already`);
      return { next: [...waiting, next], seat };
    });
    if (!running) this.#send(id, after);
    return next;
  }

  /** @throws CONVERSATION_UNKNOWN when it has been sent */
  async edit(id: string, next: string, content: string): Promise<void> {
    await this.#change(id, (before) => ({
      next: waiting(before, next).map((one) => (one.id === next ? { ...one, content } : one)),
    }));
  }

  /** @throws CONVERSATION_UNKNOWN when it has been sent */
  async drop(id: string, next: string): Promise<void> {
    await this.#change(id, (before) => ({ next: waiting(before, next).filter((one) => one.id !== next) }));
  }

  /** Stops the answer it waits for, and sends it. @throws CONVERSATION_UNKNOWN when it has been sent */
  async sendNow(id: string, next: string): Promise<void> {
    let after = "";
    // It comes before those that were written earlier.
    await this.#change(id, (before) => {
      const all = waiting(before, next);
      const one = all.find((each) => each.id === next)!;
      after = one.after;
      return { next: [one, ...all.filter((each) => each.id !== next)] };
    });
    if (this.#answers.isLive(after)) {
      this.#now.add(after);
      this.#answers.stop(id, after);
    } else this.#send(id, after);
  }

  /** Takes over what waits since a server ended: called when there is a model. */
  async takeOver(): Promise<void> {
    const rows = await this.#store.list().catch(() => []);
    for (const row of rows) {
      if (row.waiting === 0) continue;
      try {
        await this.#takeOverOne(row.id);
      } catch (error) {
        this.#log(`conversations: what waits in ${row.id} is not sent: ${(error as Error).message}`);
      }
    }
  }

  async #takeOverOne(id: string): Promise<void> {
    const conversation = await this.#store.read(id);
    const [first] = conversation.next ?? [];
    if (first === undefined || this.#due.has(id) || this.#answers.running(id)) return;
    if (conversation.seat !== undefined && !(await this.#seats.isFree(conversation.seat))) return;
    const state = conversation.messages.find((message) => message.id === first.after)?.state;
    const seat = await this.#seats.own();
    if (conversation.seat !== seat) await this.#store.update(id, () => ({ seat }), { touch: false });
    if (state === "interrupted") await this.#answers.goOn(id, first.after);
    else if (state === "stop" || state === "length") this.#send(id, first.after);
  }

  /** Lists what is being made, and what waits for it. */
  async rows(): Promise<QueueRow[]> {
    const rows: QueueRow[] = [];
    const live = this.#answers.all;
    for (const { id, title, waiting: count } of await this.#store.list()) {
      for (const { message, progress } of live.filter(({ conversation }) => conversation === id))
        rows.push({ conversation: id, title, message, ...(progress !== undefined && { progress }) });
      if (count === 0) continue;
      const { next = [] } = await this.#store.read(id);
      for (const one of next)
        rows.push({ conversation: id, title, next: one.id, content: one.content.slice(0, excerptCharacters) });
    }
    return rows;
  }

  /** Ends the trying; what waits is stored. */
  async end(): Promise<void> {
    clearInterval(this.#timer);
    await Promise.all(this.#work);
  }

  #ended(id: string, { id: answer, state }: Message): void {
    const wanted = this.#now.delete(answer);
    // An answer that was stopped or failed is for its reader to look at first.
    if (wanted || state === "stop" || state === "length") this.#send(id, answer);
  }

  #send(id: string, after: string): void {
    const work = this.#trySend(id, after).finally(() => this.#work.delete(work));
    this.#work.add(work);
  }

  async #trySend(id: string, after: string): Promise<void> {
    this.#due.delete(id);
    try {
      const { next = [] } = await this.#store.read(id);
      const first = next.find((one) => one.after === after);
      if (first === undefined) return;
      await this.#answers.send(id, after, first.content, (before, answer) => ({
        next: waiting(before, first.id)
          .filter((one) => one.id !== first.id)
          .map((one) => (one.after === after ? { ...one, after: answer } : one)),
      }));
    } catch (error) {
      const { code } = asHundredweightError(error);
      if (code === "CONVERSATION_UNKNOWN" || code === "OPTION_INVALID") return;
      // No room, or no model at present.
      this.#due.set(id, after);
      this.#timer ??= setInterval(() => this.#tryAgain(), tryAgainMs).unref();
    }
  }

  #tryAgain(): void {
    for (const [id, after] of this.#due) this.#send(id, after);
    if (this.#due.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  async #change(id: string, change: (before: Conversation) => Partial<Conversation>): Promise<void> {
    this.#answers.publishSettings(await this.#store.update(id, change, { touch: false }));
  }
}

function waiting({ next = [] }: Conversation, id: string): readonly NextMessage[] {
  if (next.some((one) => one.id === id)) return next;
  throw new HundredweightError("CONVERSATION_UNKNOWN", "that message does not wait any more");
}
