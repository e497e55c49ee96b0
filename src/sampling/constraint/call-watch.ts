/**
 * An answer that may hold tool calls: free text, in which nothing is forbidden, until a call begins for certain; then
 * its grammar holds up to its end. Never inside of thinking. Where nothing may be called, the tokens that would begin a
 * call do not come.
 */
import type { AllowedTokens } from "../allowed.js";
import type { CallMarks, Meaning } from "./call-marks.js";
import type { ShapeConstraint } from "./call-shape.js";
import type { LeftOut } from "./grammar/rule-book.js";
import type { Guide } from "./guide.js";
import { type Begun, begunKey, nothingBegun, readPart } from "./mark-tree.js";
import { type CompiledConstraint, Matcher } from "./matcher.js";
import type { Thinking } from "./thinking.js";
import { banTokens, onlyEnds } from "./token-sets.js";
import { longestToken } from "./token-trie.js";

/** Longest header that is looked at, in bytes. */
const mostHeader = 512;
/** Masks that are kept of one constraint: one for each beginning of a mark that was met. */
const mostKept = 256;

export class CallWatch implements Guide {
  private readonly compiled: CompiledConstraint;
  private readonly marks: CallMarks;
  private readonly once: boolean;
  private readonly never: boolean;
  /** Calls are being written. */
  private armed: Matcher | undefined;
  private thinks: boolean;
  /** Nothing has been said since the beginning, or since thinking or calls. */
  private fresh = true;
  private begun: Begun = nothingBegun;
  /** The header under way, as text of one character a byte. */
  private header = "";
  private over = false;

  constructor(compiled: CompiledConstraint, marks: CallMarks, { begun, once, never, thinking }: WatchOptions) {
    this.compiled = compiled;
    this.marks = marks;
    this.once = once === true;
    this.never = never === true;
    this.thinks = thinking?.opened === true;
    if (begun !== undefined) this.read(Buffer.from(begun));
  }

  get leftOut(): readonly LeftOut[] {
    return this.compiled.leftOut;
  }

  get accepts(): boolean {
    return this.armed === undefined || this.armed.accepts;
  }

  get done(): boolean {
    return this.over;
  }

  allowed(): AllowedTokens | undefined {
    if (this.armed !== undefined) return this.armed.allowed();
    if (this.over) return onlyEnds(this.compiled.vocabulary);
    if (this.begun.length === 0 && !this.never) return undefined;
    const { masks } = this.marks;
    const key = `${begunKey(this.begun)}${this.fresh ? "f" : ""}${this.thinks ? "t" : ""}`;
    if (masks.has(key)) return masks.get(key);
    if (masks.size >= mostKept) masks.clear();
    const made = this.boundary();
    masks.set(key, made);
    return made;
  }

  forced(most: number): Int32Array {
    return this.armed?.forced(most) ?? new Int32Array(0);
  }

  accept(id: number): boolean {
    const { vocabulary } = this.compiled;
    if (this.armed !== undefined) {
      if (!this.armed.accept(id)) return false;
      this.disarm();
      return true;
    }
    const { tokenizer } = vocabulary;
    this.read(vocabulary.isText(id) ? tokenizer.pieceBytes(id) : Buffer.from(tokenizer.piece(id)));
    return true;
  }

  private read(bytes: Uint8Array): void {
    for (let i = 0; i < bytes.length; i++) {
      const matcher = this.readByte(bytes[i]!);
      if (matcher === undefined || this.never) continue;
      // A token that goes beyond the beginning of a call, which the mask lets through where the call goes on so.
      if (!matcher.acceptBytes(bytes.subarray(i + 1))) continue;
      this.armed = matcher;
      this.disarm();
      return;
    }
  }

  /** Goes back to free text when a call is whole. */
  private disarm(): void {
    if (this.armed?.accepts !== true) return;
    this.armed = undefined;
    this.fresh = true;
    this.begun = nothingBegun;
    this.header = "";
    this.over = this.once;
  }

  /** @returns a matcher behind the beginning of a call, where the byte ends one */
  private readByte(byte: number): Matcher | undefined {
    const { tree, closers, meanings } = this.marks;
    if (this.thinks) {
      const { begun, mark } = closers.step(this.begun, byte, true);
      this.begun = begun;
      if (mark !== undefined) {
        this.thinks = false;
        this.fresh = true;
      }
      return undefined;
    }
    this.header = (this.header + String.fromCharCode(byte)).slice(-mostHeader);
    const { begun, mark } = tree.step(this.begun, byte, true);
    this.begun = begun;
    const meaning = mark === undefined ? undefined : meanings[mark]!;
    const made = meaning && this.meet(meaning);
    // What may still be a mark at the beginning keeps the place fresh.
    if (!isBlank(byte) && begun.length === 0 && !this.thinks) this.fresh = false;
    return made;
  }

  private meet(meaning: Meaning): Matcher | undefined {
    switch (meaning.is) {
      case "thinking":
        this.thinks = this.fresh;
        return undefined;
      case "calls":
        return meaning.first && !this.fresh ? undefined : this.behind(meaning.text);
      case "header": {
        const { ends, to } = meaning.start;
        const from = Math.max(0, ...ends.map((end) => this.header.lastIndexOf(end)));
        const recipient = / to=(?:functions\.)?([^\s<]+)/.exec(` ${this.header.slice(from)}`)?.[1];
        this.header = "";
        const text = to.find(({ name }) => name === recipient)?.text;
        return text === undefined ? undefined : this.behind(text);
      }
    }
  }

  private behind(text: string): Matcher | undefined {
    const matcher = new Matcher(this.compiled);
    // What would be called does not matter.
    if (this.never) return matcher;
    return matcher.acceptBytes(Buffer.from(readPart(text))) ? matcher : undefined;
  }

  /**
   * Without the tokens that end the beginning of a call and go on in a way in which calls do not; where nothing may be
   * called, without all that end one.
   */
  private boundary(): AllowedTokens | undefined {
    const { vocabulary } = this.compiled;
    const { trie } = vocabulary;
    const { nodes, first, ids } = trie;
    const path: (CallWatch | Matcher)[] = new Array(longestToken + 1);
    const banned: number[] = [];
    path[0] = this;
    for (let n = 0; n < nodes; ) {
      const at = path[trie.depth(n) - 1]!;
      let to: CallWatch | Matcher | undefined;
      if (at instanceof Matcher) {
        to = at.fork();
        if (!to.acceptBytes(Uint8Array.of(trie.byte(n)))) {
          for (let t = first[n]!; t < first[trie.skip(n)]!; t++) banned.push(ids[t]!);
          to = undefined;
        }
      } else {
        const next = at.copy();
        to = next.readByte(trie.byte(n)) ?? next;
        // Marks that begin inside of this token are not looked for: no vocabulary has such a token.
        if (to === next) to = next.goesOnFrom(at, trie.byte(n)) ? next : undefined;
        else if (this.never) {
          for (let t = first[n]!; t < first[trie.skip(n)]!; t++) banned.push(ids[t]!);
          to = undefined;
        }
      }
      if (to === undefined) n = trie.skip(n);
      else path[trie.depth(n++)] = to;
    }
    if (this.never) banned.push(...this.controls());
    return banned.length === 0 ? undefined : banTokens(vocabulary, banned);
  }

  /** Control tokens that would begin a call here. */
  private controls(): number[] {
    const { size, tokenizer } = this.compiled.vocabulary;
    const found: number[] = [];
    for (let id = 0; id < size; id++) {
      if (tokenizer.tokenKind(id) !== "control") continue;
      const next = this.copy();
      if (Buffer.from(tokenizer.piece(id)).some((byte) => next.readByte(byte) !== undefined)) found.push(id);
    }
    return found;
  }

  private copy(): CallWatch {
    return Object.assign(Object.create(CallWatch.prototype) as CallWatch, this);
  }

  /** Whether something that was begun before a byte is still begun behind it. Where calls are barred it may begin. */
  private goesOnFrom(before: CallWatch, byte: number): boolean {
    const { tree, closers } = this.marks;
    if (this.never && !before.thinks && isBlank(byte)) return true;
    return (before.thinks ? closers : tree).step(before.begun, byte, this.never).begun.length > 0;
  }
}

export interface WatchOptions extends Pick<ShapeConstraint, "begun" | "once" | "never"> {
  readonly thinking?: Thinking;
}

function isBlank(byte: number): boolean {
  return byte === 0x20 || (byte >= 0x09 && byte <= 0x0d);
}
