/**
 * Texts whose tokens were evaluated, answers included. A conversation comes back as messages, and what a template makes
 * of them is tokenized differently from what the model wrote: other pieces for the same letters, other blanks, escapes
 * and orders in calls. So after an answer the texts that its conversation may be rendered to are kept by their hashes,
 * with the tokens that were evaluated for it; a prompt that begins with one of them takes those.
 *
 * No text is kept, and tokens of one conversation once: those of earlier turns are the beginning of those of later
 * ones.
 */
import { randomUUID } from "node:crypto";
import type { Conversation, SaidReply } from "../chat/index.js";
import { type ReplyEvent, ReplyGatherer } from "../chat/reply.js";
import type { TextService } from "./client.js";
import { hashBytes, type KnownTexts } from "./known-texts.js";
import { chatBytes } from "./limits.js";
import type { TooLong } from "./prompt.js";
import type { EncodedChat, Turn } from "./protocol.js";

/** Each is told to a text's place with every prompt. */
const mostTexts = 256;
/** Bytes of all tokens that are kept. */
const mostTokenBytes = 4 * 2 ** 20;
/** Bytes of the conversations whose answers are being made; what is more is not kept in the end. */
const mostHeldBytes = 8 * 2 ** 20;
/** Answers to one prompt that are kept: the client goes on with one of them. */
const mostChoices = 4;
/** Longest that a prompt waits for the texts of the answer before it: its place may have to be started first. */
const mostWaitMs = 5000;

interface Known {
  readonly scope: string;
  readonly length: number;
  readonly hash: Uint8Array;
  tokens: Int32Array;
}

interface Waiting {
  readonly scope: string;
  readonly messages: number;
  /** JSON of the last of them: a client may change the first in every request. */
  readonly last: string;
  readonly done: Promise<unknown>;
}

interface AnsweredPrompt {
  readonly chat: Conversation;
  readonly turn: Turn;
  readonly prompt: Int32Array;
  readonly scope: string;
}

export interface EvaluatedOptions {
  /** Keeps what was thought in the prompt though the template takes it out when a user speaks next. Default false. */
  readonly keepThinking?: boolean | undefined;
}

export class EvaluatedTexts {
  private readonly text: TextService;
  private readonly keepThinking: boolean;
  /** Least recently used first. */
  private known: Known[] = [];
  private readonly waiting = new Set<Waiting>();
  private heldBytes = 0;

  constructor(text: TextService, { keepThinking = false }: EvaluatedOptions = {}) {
    this.text = text;
    this.keepThinking = keepThinking;
  }

  /** Texts, and bytes of their tokens. */
  get size(): { readonly texts: number; readonly tokenBytes: number } {
    const buffers = new Set(this.known.map(({ tokens }) => tokens.buffer));
    const tokenBytes = [...buffers].reduce((sum, { byteLength }) => sum + byteLength, 0);
    return { texts: this.known.length, tokenBytes };
  }

  /**
   * As `encodeChat`.
   * @param scope its owner: what others were told is not looked at, as the number of tokens would show it
   * @throws what that throws
   */
  async encode(chat: Conversation, most: number, scope = "", signal?: AbortSignal): Promise<EncodedChat | TooLong> {
    await this.answersBefore(chat, scope);
    const known = this.known.filter((one) => one.scope === scope).sort((a, b) => a.length - b.length);
    const request = { kind: "encodeChat", chat, most, ...(known.length > 0 && { known: toldOf(known) }) } as const;
    const encoded = await this.text.perform(request, signal);
    if (!("reply" in encoded) || encoded.known === undefined) return encoded;
    const found = known[encoded.known]!;
    this.known = [...this.known.filter((one) => one !== found), found];
    return { ...encoded, tokens: joined(found.tokens, encoded.tokens) };
  }

  /**
   * An answer to this prompt begins; its conversation is held until it ends.
   * @returns undefined where nothing will be kept of it
   */
  begin(chat: Conversation, { tokens, turn }: EncodedChat, scope = ""): HeardReplies | undefined {
    const goesOn = chat.continueLast !== false && chat.messages.at(-1)?.role === "assistant";
    const bytes = chatBytes(chat);
    if (turn === undefined || goesOn || this.heldBytes + bytes > mostHeldBytes) return undefined;
    this.heldBytes += bytes;
    const release = (): void => {
      this.heldBytes -= bytes;
    };
    return new HeardReplies(release, (answer, ids) => this.keep({ chat, turn, prompt: tokens, scope }, answer, ids));
  }

  /** Which texts have these tokens or a beginning of them, as JSON for `remember`; undefined: none. */
  async told(tokens: Int32Array, scope = ""): Promise<string | undefined> {
    await Promise.all(Array.from(this.waiting, ({ done }) => done));
    const mine = this.known.filter((one) => one.scope === scope && one.tokens.every((token, i) => token === tokens[i]));
    if (mine.length === 0) return undefined;
    const texts = mine.map(({ length, tokens: own, hash }): ToldText => [length, own.length, hashText(hash)]);
    return JSON.stringify(texts);
  }

  /** Takes what another process told of these tokens; what makes no sense is left out. */
  remember(told: string, tokens: Int32Array, scope = ""): void {
    for (const [length, count, text] of readTold(told)) {
      const hash = Buffer.from(text, "base64");
      if (hash.length !== hashBytes || length < 1 || count > tokens.length) continue;
      this.add({ lengths: Int32Array.of(length), hashes: hash }, tokens.subarray(0, count), scope);
    }
  }

  private async keep(
    { chat, turn, prompt, scope }: AnsweredPrompt,
    answer: SaidReply,
    ids: readonly number[],
  ): Promise<void> {
    const { keepThinking } = this;
    const work = this.text.perform({ kind: "answered", chat, turn, answer, keepThinking, mark: randomUUID() });
    // Whatever became of it: then the next prompt is tokenized as a whole.
    const done = work.then(
      (texts) => this.add(texts, joined(prompt, ids), scope),
      () => {},
    );
    const entry = { scope, messages: chat.messages.length, last: JSON.stringify(chat.messages.at(-1)), done };
    this.waiting.add(entry);
    await done;
    this.waiting.delete(entry);
  }

  private add({ lengths, hashes }: Omit<KnownTexts, "tokens">, tokens: Int32Array, scope: string): void {
    this.share(tokens);
    for (const [i, length] of lengths.entries()) {
      // A copy: these bytes are a view of the whole message that brought them.
      const hash = new Uint8Array(hashes.subarray(i * hashBytes, (i + 1) * hashBytes));
      this.known = this.known.filter(
        (one) => one.scope !== scope || one.length !== length || Buffer.compare(one.hash, hash) !== 0,
      );
      this.known.push({ scope, length, hash, tokens });
    }
    this.known.splice(0, this.known.length - mostTexts);
    while (this.size.tokenBytes > mostTokenBytes) this.known.shift();
  }

  /** Texts whose tokens are a beginning of these take them from here. */
  private share(tokens: Int32Array): void {
    const groups = new Map<ArrayBufferLike, Known[]>();
    for (const one of this.known) {
      const group = groups.get(one.tokens.buffer);
      if (group === undefined) groups.set(one.tokens.buffer, [one]);
      else group.push(one);
    }
    for (const there of groups.values()) {
      const longest = there.reduce((a, b) => (b.tokens.length > a.tokens.length ? b : a)).tokens;
      const most = Math.min(longest.length, tokens.length);
      let common = 0;
      while (common < most && longest[common] === tokens[common]) common++;
      for (const one of there) if (one.tokens.length <= common) one.tokens = tokens.subarray(0, one.tokens.length);
    }
  }

  /** A client goes on as soon as it has an answer: what is to be kept of that may still be in the making. */
  private async answersBefore({ messages }: Conversation, scope: string): Promise<void> {
    if (this.waiting.size === 0) return;
    const before = [...this.waiting].filter(
      (one) =>
        one.scope === scope &&
        one.messages < messages.length &&
        one.last === JSON.stringify(messages[one.messages - 1]),
    );
    if (before.length === 0) return;
    let timer: NodeJS.Timeout | undefined;
    const patience = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, mostWaitMs);
    });
    await Promise.race([Promise.all(before.map(({ done }) => done)), patience]);
    clearTimeout(timer);
  }
}

/** Characters, tokens, hash. */
type ToldText = readonly [length: number, tokens: number, hash: string];

const hashText = (hash: Uint8Array): string => Buffer.from(hash).toString("base64");

function readTold(text: string): readonly ToldText[] {
  let told: unknown;
  try {
    told = JSON.parse(text);
  } catch {
    return [];
  }
  if (!Array.isArray(told)) return [];
  const count = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) >= 0;
  return told.slice(-mostTexts).filter((one): one is ToldText => {
    return Array.isArray(one) && count(one[0]) && one[0] < 2 ** 31 && count(one[1]) && typeof one[2] === "string";
  });
}

function joined(first: Int32Array, second: ArrayLike<number>): Int32Array {
  const both = new Int32Array(first.length + second.length);
  both.set(first);
  both.set(second, first.length);
  return both;
}

function toldOf(known: readonly Known[]): KnownTexts {
  return {
    lengths: Int32Array.from(known, ({ length }) => length),
    tokens: Int32Array.from(known, ({ tokens }) => tokens.length),
    hashes: Buffer.concat(known.map(({ hash }) => hash)),
  };
}

/**
 * The answers to one prompt as they are made. They are heard as the client's reader reads them, whose ids of calls come
 * back.
 */
export class HeardReplies {
  private readonly release: () => void;
  private readonly keep: (answer: SaidReply, ids: readonly number[]) => Promise<void>;
  private readonly made: { readonly gathered: ReplyGatherer; readonly ids: number[] }[] = [];
  private over = false;

  constructor(release: () => void, keep: HeardReplies["keep"]) {
    this.release = release;
    this.keep = keep;
  }

  /** @param id the token that was made; undefined: text that was held back */
  heard(choice: number, id: number | undefined, events: readonly ReplyEvent[]): void {
    if (this.over || choice >= mostChoices) return;
    while (this.made.length <= choice) this.made.push({ gathered: new ReplyGatherer(), ids: [] });
    const { gathered, ids } = this.made[choice]!;
    if (id !== undefined) ids.push(id);
    gathered.add(events);
  }

  /**
   * Called once, also for an answer that failed, when all was heard: `whole` says of each choice whether its text is
   * all that was made. Resolves when what is kept of them is there.
   */
  async ended(whole: readonly boolean[]): Promise<void> {
    if (this.over) return;
    this.over = true;
    try {
      for (const [choice, { gathered, ids }] of this.made.entries()) {
        const { reply } = gathered;
        // Nobody sends a call back that was cut.
        if (whole[choice] === true && reply.calls.every((call) => call.whole)) await this.keep(reply, ids);
      }
    } finally {
      this.release();
    }
  }
}
