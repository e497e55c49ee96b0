/**
 * Which tokens may come in a configuration, remembered by configuration: those that its lexemes allow by themselves
 * (`lexeme-masks.ts`), and those in which a lexeme ends, as far as the grammar goes on so.
 */
import type { AllowedTokens } from "../allowed.js";
import type { Automaton, Configuration } from "./grammar/automaton.js";
import type { LexemeMask, LexemeMasks } from "./lexeme-masks.js";
import type { MaskStore } from "./mask-store.js";
import { setBit, tokensOf } from "./token-sets.js";
import { hasTokens, longestToken, type TokenTrie } from "./token-trie.js";
import type { ConstraintVocabulary } from "./vocabulary.js";

export class Masks {
  private readonly automaton: Automaton;
  private readonly lexemes: LexemeMasks;
  private readonly vocabulary: ConstraintVocabulary;
  private readonly store: MaskStore;
  private readonly known = new Map<number, AllowedTokens>();
  /** Places that are the same for all tokens -> the configuration whose mask they have. */
  private readonly sameAs = new Map<string, number>();
  /** Configurations by depth during a walk. */
  private readonly path: Configuration[] = new Array(longestToken + 1);
  /** The mask being made; one for all grammars. */
  private readonly bits: Uint32Array;

  constructor(automaton: Automaton, lexemes: LexemeMasks, vocabulary: ConstraintVocabulary, store: MaskStore) {
    this.automaton = automaton;
    this.lexemes = lexemes;
    this.vocabulary = vocabulary;
    this.store = store;
    this.bits = lexemes.bits;
  }

  /** Tokens that may come, the ends of generation among them where the text may end. */
  of(at: Configuration): AllowedTokens {
    const known = this.known.get(at.number);
    if (known !== undefined) {
      this.store.touch(known);
      return known;
    }
    this.automaton.pay();
    const alone = this.alone(at);
    const key = alone && at.tokens.length === 0 ? keyOf(at, alone) : undefined;
    const same = key === undefined ? undefined : this.sameAs.get(key);
    const shared = same === undefined ? undefined : this.known.get(same);
    if (shared !== undefined) {
      this.store.touch(shared);
      return shared;
    }
    const made = this.make(at, alone);
    this.store.add(this.known, at.number, made);
    if (key !== undefined) this.sameAs.set(key, at.number);
    return made;
  }

  forget(): void {
    this.store.drop(this.known);
  }

  /** The mask of each lexeme alone; undefined where one of them cannot be told from the grammar. */
  private alone({ states }: Configuration): readonly LexemeMask[] | undefined {
    const masks: LexemeMask[] = [];
    for (const state of states) {
      const mask = this.lexemes.of(state);
      if (mask === undefined) return undefined;
      masks.push(mask);
    }
    return masks;
  }

  private make(at: Configuration, alone: readonly LexemeMask[] | undefined): AllowedTokens {
    const { vocabulary, bits } = this;
    bits.fill(0);
    if (alone === undefined) this.walk(at);
    else {
      for (const mask of alone) this.include(mask);
      alone.forEach((mask, i) => {
        this.followExits(mask, at.stacks[i]!);
      });
    }
    for (const { ids, except } of at.tokens) {
      if (except) for (let id = 0; id < vocabulary.size; id++) if (!ids.has(id)) setBit(bits, id);
      if (!except) for (const id of ids) setBit(bits, id);
    }
    for (const id of vocabulary.endOfGeneration) {
      if (at.accepts) setBit(bits, id);
      else if (!at.tokens.some((t) => !t.except && t.ids.has(id))) bits[id >> 5]! &= ~(1 << (id & 31));
    }
    return tokensOf(bits, vocabulary.size);
  }

  private include({ bits: more, ids }: LexemeMask): void {
    const { bits } = this;
    if (more !== undefined) for (let w = 0; w < bits.length; w++) bits[w]! |= more[w]!;
    for (let i = 0; i < ids.length; i++) setBit(bits, ids[i]!);
  }

  /** Tokens in which the lexeme ends. */
  private followExits({ trie, exits }: LexemeMask, stack: number): void {
    const { automaton, bits } = this;
    for (const { marks, ends, bytes, from, nodes } of exits) {
      const behind = automaton.behind(stack, marks);
      if (behind < 0) continue;
      for (let i = 0; i < ends.length; i++) setBit(bits, ends[i]!);
      const at = automaton.configuration(behind);
      for (let b = 0; b < bytes.length; b++) {
        const to = automaton.step(at, bytes[b]!);
        if (to < 0) continue;
        const below = automaton.configuration(to);
        for (let n = from[b]!; n < from[b + 1]!; n++) this.walkBelow(trie, nodes[n]!, below);
      }
    }
  }

  /** A walk over all tokens, with the grammar. */
  private walk(from: Configuration): void {
    const { trie } = this.vocabulary;
    this.path[0] = from;
    this.walkNodes(trie, 0, trie.nodes);
  }

  /** The tokens that end at a node, and those below it. @param at behind the node */
  private walkBelow(trie: TokenTrie, node: number, at: Configuration): void {
    const { first, ids } = trie;
    for (let t = first[node]!; t < first[node + 1]!; t++) setBit(this.bits, ids[t]!);
    const end = trie.skip(node);
    if (node + 1 >= end) return;
    this.path[trie.depth(node)] = at;
    this.walkNodes(trie, node + 1, end);
  }

  private walkNodes({ words, first, ids }: TokenTrie, begin: number, end: number): void {
    const { automaton, path, bits } = this;
    for (let n = begin; n < end; ) {
      const word = words[2 * n]!;
      const level = (word >> 8) & 0x7ff;
      const at = path[level - 1]!;
      const row = at.row;
      let to = row === undefined ? -2 : row[word & 0xff]!;
      if (to === -2) to = automaton.step(at, word & 0xff);
      if (to < 0) {
        n = words[2 * n + 1]!;
        continue;
      }
      if ((word & hasTokens) !== 0) for (let t = first[n]!; t < first[n + 1]!; t++) setBit(bits, ids[t]!);
      path[level] = automaton.configuration(to);
      n++;
    }
  }
}

/** Names a place by all that its tokens depend on. */
function keyOf({ stacks, accepts }: Configuration, alone: readonly LexemeMask[]): string {
  return `${accepts ? 1 : 0}${alone.map(({ number }, i) => `,${number}.${stacks[i]}`).join("")}`;
}
