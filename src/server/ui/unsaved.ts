/**
 * Answers that could not be written, because the disk is full or gone: kept here, and tried again until it works.
 * People read of it in the log once when it begins and once when it is over.
 */
import type { Message } from "./wire.js";

const firstWaitMs = 1000;
const longestWaitMs = 30_000;

export class Unsaved {
  readonly #write: (conversation: string) => Promise<void>;
  readonly #log: (line: string) => void;
  readonly #messages = new Map<string, Message[]>();
  #timer: NodeJS.Timeout | undefined;
  #waitMs = firstWaitMs;

  /** @param write stores a conversation with those of its messages that are here, and then calls `written` */
  constructor(write: (conversation: string) => Promise<void>, log: (line: string) => void) {
    this.#write = write;
    this.#log = log;
  }

  get count(): number {
    let count = 0;
    for (const messages of this.#messages.values()) count += messages.length;
    return count;
  }

  of(conversation: string): readonly Message[] {
    return this.#messages.get(conversation) ?? [];
  }

  keep(conversation: string, message: Message, why: string): void {
    if (this.#messages.size === 0)
      this.#log(`${why}: answers that cannot be stored are kept in memory, and written when that works again`);
    const others = this.of(conversation).filter(({ id }) => id !== message.id);
    this.#messages.set(conversation, [...others, message]);
    this.#later();
  }

  /** Their conversation is gone. */
  drop(conversation: string): void {
    this.#messages.delete(conversation);
  }

  /** They are in the file. */
  written(conversation: string): void {
    if (!this.#messages.delete(conversation)) return;
    this.#waitMs = firstWaitMs; // those that wait have a chance now, too
    if (this.#messages.size > 0) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#log("conversations: all answers are stored again");
  }

  /** Tries a last time. */
  async end(): Promise<void> {
    clearTimeout(this.#timer);
    await this.#tryAll();
    clearTimeout(this.#timer);
    const { count } = this;
    if (count > 0) this.#log(`conversations: ${count} answers could not be stored and are lost`);
  }

  #later(): void {
    if (this.#timer !== undefined) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#waitMs = Math.min(2 * this.#waitMs, longestWaitMs);
      void this.#tryAll().then(() => {
        if (this.#messages.size > 0) this.#later();
      });
    }, this.#waitMs);
    this.#timer.unref();
  }

  async #tryAll(): Promise<void> {
    // A failure is known already.
    for (const id of [...this.#messages.keys()]) await this.#write(id).catch(() => {});
  }
}
