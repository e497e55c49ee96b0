/** Where an answer stands in its constraint: which tokens may come, and what one of them leads to. */
import type { AllowedTokens } from "../allowed.js";
import type { CallMarks } from "./call-marks.js";
import type { Automaton, Configuration } from "./grammar/automaton.js";
import type { LeftOut } from "./grammar/rule-book.js";
import type { Guide } from "./guide.js";
import type { Masks } from "./masks.js";
import type { TokenTrie } from "./token-trie.js";
import type { ConstraintVocabulary } from "./vocabulary.js";

/** A constraint compiled for one model: shared by all answers that ask for the same. */
export interface CompiledConstraint {
  readonly automaton: Automaton;
  readonly masks: Masks;
  readonly vocabulary: ConstraintVocabulary;
  /** The parts of a schema that are not enforced. */
  readonly leftOut: readonly LeftOut[];
  /** Where calls begin, when they are looked for in a text. */
  readonly marks: CallMarks | undefined;
}

export class Matcher implements Guide {
  private readonly compiled: CompiledConstraint;
  private at: Configuration;

  constructor(compiled: CompiledConstraint, at: Configuration = compiled.automaton.start) {
    this.compiled = compiled;
    this.at = at;
  }

  /** Another one at the same place. */
  fork(): Matcher {
    return new Matcher(this.compiled, this.at);
  }

  /** The parts of a schema that are not enforced. */
  get leftOut(): readonly LeftOut[] {
    return this.compiled.leftOut;
  }

  /** Tokens that may come; ends of generation among them where the text may end. */
  allowed(): AllowedTokens {
    return this.compiled.masks.of(this.at);
  }

  /** Whether the text may end here. */
  get accepts(): boolean {
    return this.at.accepts;
  }

  /** Whether nothing may follow. */
  get done(): boolean {
    return this.at.states.length === 0 && this.at.tokens.length === 0;
  }

  /** @returns false, and nothing changes, when the token may not come; an end of generation is no token of the text */
  accept(id: number): boolean {
    const to = this.after(this.at, id);
    if (to === undefined) return false;
    this.at = to;
    return true;
  }

  /** The place behind a text of plain tokens; undefined when it may not come. */
  private after(from: Configuration, id: number): Configuration | undefined {
    const { automaton, vocabulary } = this.compiled;
    let to = vocabulary.isText(id) ? this.afterBytes(from, vocabulary.tokenizer.pieceBytes(id)) : -1;
    if (from.tokens.length > 0) to = automaton.stepToken(from, id, to);
    return to < 0 ? undefined : automaton.configuration(to);
  }

  private afterBytes(from: Configuration, bytes: Uint8Array): number {
    if (bytes.length === 0) return -1;
    const { automaton } = this.compiled;
    let at = from.number;
    for (const byte of bytes) {
      at = automaton.step(automaton.configuration(at), byte);
      if (at < 0) return -1;
    }
    return at;
  }

  /** Accepts bytes of a text, whatever tokens they would be. */
  acceptBytes(bytes: Uint8Array): boolean {
    if (bytes.length === 0) return true;
    const to = this.afterBytes(this.at, bytes);
    if (to < 0) return false;
    this.at = this.compiled.automaton.configuration(to);
    return true;
  }

  /**
   * Tokens of the text that has to come next, as the tokenizer writes it; empty when nothing is certain. Characters
   * forced one by one would be tokens the model has never seen; the last ones are left out where a longer token may go
   * on beyond what is certain.
   */
  forced(most: number): Int32Array {
    const bytes = this.forcedBytes(8 * most);
    if (bytes.length < 2) return new Int32Array(0);
    const { vocabulary } = this.compiled;
    const { tokenizer } = vocabulary;
    const text = Buffer.from(bytes).toString("utf8");
    if (text.includes("\ufffd")) return new Int32Array(0);
    const ids = tokenizer.encode(text, { parseSpecial: false, addSpecial: false });
    let kept = 0;
    let at = 0;
    for (const id of ids) {
      const piece = tokenizer.pieceBytes(id);
      // A tokenizer that puts a space before a text writes other bytes.
      if (piece.length === 0 || piece.some((byte, i) => bytes[at + i] !== byte)) break;
      if (goesBeyond(vocabulary.trie, bytes, at)) break;
      at += piece.length;
      kept++;
    }
    return ids.slice(0, Math.min(kept, most));
  }

  /** Bytes that have to come, each the only one that may. */
  private forcedBytes(most: number): number[] {
    const { automaton } = this.compiled;
    const out: number[] = [];
    for (let at = this.at; out.length < most; ) {
      if (at.accepts || at.tokens.length > 0) break;
      let only = -1;
      for (let byte = 0; byte < 256; byte++) {
        if (automaton.step(at, byte) < 0) continue;
        if (only >= 0) return out;
        only = byte;
      }
      if (only < 0) break;
      out.push(only);
      at = automaton.configuration(automaton.step(at, only));
    }
    return out;
  }
}

/** Whether some token has all bytes from `from` on, and more. */
function goesBeyond(trie: TokenTrie, bytes: readonly number[], from: number): boolean {
  let wanted = from;
  let level = 1;
  for (let n = 0; n < trie.nodes && trie.depth(n) >= level; ) {
    if (trie.depth(n) !== level || trie.byte(n) !== bytes[wanted]) {
      n = trie.skip(n);
      continue;
    }
    wanted++;
    if (wanted === bytes.length) return trie.skip(n) > n + 1;
    level++;
    n++;
  }
  return false;
}
