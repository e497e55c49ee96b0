/**
 * Tokens of answers that have ended, in which the next ones are looked up: who asks for the same again, or for the same
 * kind of query, gets much of it again. Each owner (an API key) has texts of its own, so that nobody's guesses, and the
 * time they save, tell of anybody else's. Bounded: of an owner the older half is forgotten when the newer one is full,
 * and the owner who has asked for nothing for the longest time goes first.
 */
import { SuffixIndex, type SuffixMatch, suffixIndexBytes } from "./suffix-index.js";

/** Stands between answers; no token has this id. */
const border = -1;
/** Tokens of a half: with its chains 320 KiB. */
const halfTokens = 16_384;
const mostOwners = 8;
/** Shorter answers are made before anything is found. */
const leastTokens = 8;

/** Most bytes that all of it takes: a part of what a plan has for the runtime. */
export const earlierAnswerBytes = mostOwners * 2 * suffixIndexBytes(halfTokens);

export interface EarlierMatch extends SuffixMatch {
  readonly from: SuffixIndex;
}

/** The newer half, and the one before it. */
interface Texts {
  newer: SuffixIndex;
  older: SuffixIndex | undefined;
}

export class EarlierAnswers {
  /** In the order of their last requests. */
  private readonly owners = new Map<string, Texts>();

  /** An answer has ended. @param owner undefined: everybody's */
  add(owner: string | undefined, tokens: Iterable<number> & { readonly length: number }): void {
    if (tokens.length < leastTokens) return;
    const texts = this.used(owner) ?? { newer: new SuffixIndex(), older: undefined };
    this.owners.set(nameOf(owner), texts);
    if (this.owners.size > mostOwners) this.owners.delete(this.owners.keys().next().value!);
    texts.newer.push(border);
    for (const id of tokens) {
      if (texts.newer.length >= halfTokens) {
        texts.older = texts.newer;
        texts.newer = new SuffixIndex();
        texts.newer.push(border);
      }
      texts.newer.push(id);
    }
  }

  /** The longest end of a text that stood in earlier answers of this owner. */
  longest(owner: string | undefined, text: SuffixIndex): EarlierMatch | undefined {
    const texts = this.used(owner);
    if (texts === undefined) return undefined;
    const found = [texts.newer, texts.older].flatMap((from) => {
      const match = from?.longest(text);
      return from === undefined || match === undefined ? [] : [{ ...match, from }];
    });
    return found[1] !== undefined && found[1].length > found[0]!.length ? found[1] : found[0];
  }

  /** Tokens that are kept, of all owners. */
  get tokens(): number {
    let all = 0;
    for (const { newer, older } of this.owners.values()) all += newer.length + (older?.length ?? 0);
    return all;
  }

  private used(owner: string | undefined): Texts | undefined {
    const name = nameOf(owner);
    const texts = this.owners.get(name);
    if (texts === undefined) return undefined;
    this.owners.delete(name);
    this.owners.set(name, texts);
    return texts;
  }
}

/** No owner is another one than any that has a name. */
const nameOf = (owner: string | undefined): string => (owner === undefined ? "" : `of ${owner}`);
