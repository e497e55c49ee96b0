/** Which tokens may come in a configuration: found by a walk over the tree of tokens, remembered by configuration. */
import type { AllowedTokens } from "../allowed.js";
import { lengthsOf } from "./free-strings.js";
import type { Automaton, Configuration } from "./grammar/automaton.js";
import { freedom, longest } from "./regex/measure.js";
import { longestToken, type TokenTrie } from "./token-trie.js";
import { type ConstraintVocabulary, plainCharacters } from "./vocabulary.js";

/** Up to so many tokens are listed as well: whoever samples gathers them and looks at no other. */
const fewTokens = 1024;

/** Bytes of masks that all grammars of a model keep together; the oldest go first. */
export class MaskStore {
  readonly limit: number;
  private used = 0;
  /** In the order of their last use. */
  private readonly kept = new Map<object, { readonly owner: Map<number, AllowedTokens>; readonly number: number }>();

  constructor(limit: number) {
    this.limit = limit;
  }

  get bytes(): number {
    return this.used;
  }

  add(owner: Map<number, AllowedTokens>, number: number, mask: AllowedTokens): void {
    owner.set(number, mask);
    this.kept.set(mask, { owner, number });
    this.used += bytesOf(mask);
    for (const [oldest, { owner: its, number: n }] of this.kept) {
      if (this.used <= this.limit || oldest === mask) break;
      its.delete(n);
      this.kept.delete(oldest);
      this.used -= bytesOf(oldest as AllowedTokens);
    }
  }

  touch(mask: AllowedTokens): void {
    const place = this.kept.get(mask);
    if (place === undefined) return;
    this.kept.delete(mask);
    this.kept.set(mask, place);
  }

  /** Forgets what a grammar had. */
  drop(owner: Map<number, AllowedTokens>): void {
    for (const mask of owner.values()) if (this.kept.delete(mask)) this.used -= bytesOf(mask);
    owner.clear();
  }
}

function bytesOf(mask: AllowedTokens): number {
  // What a scan makes of a mask of many tokens is a byte each.
  return mask.bits.byteLength + (mask.ids?.byteLength ?? 32 * mask.bits.length) + 200;
}

interface FreePlace {
  /** The configuration behind the string; -1 = none. */
  readonly behind: number;
  readonly least: number;
  /** More than any token has are as many as it has. */
  readonly most: number;
  readonly key: string;
}

/** A string with more characters to come before it may end is looked at as any other text. */
const mostLeast = 64;

export class Masks {
  private readonly automaton: Automaton;
  private readonly vocabulary: ConstraintVocabulary;
  private readonly store: MaskStore;
  private readonly known = new Map<number, AllowedTokens>();
  /** Free places that are the same -> the configuration whose mask they have. */
  private readonly sameAs = new Map<string, number>();
  /** Configurations by depth during a walk. */
  private readonly path: Configuration[] = new Array(longestToken + 1);

  constructor(automaton: Automaton, vocabulary: ConstraintVocabulary, store: MaskStore) {
    this.automaton = automaton;
    this.vocabulary = vocabulary;
    this.store = store;
  }

  /** Tokens that may come, the ends of generation among them where the text may end. */
  of(at: Configuration): AllowedTokens {
    const known = this.known.get(at.number);
    if (known !== undefined) {
      this.store.touch(known);
      return known;
    }
    const free = this.freeOf(at);
    const same = free === undefined ? undefined : this.sameAs.get(free.key);
    const shared = same === undefined ? undefined : this.known.get(same);
    if (shared !== undefined) {
      this.store.touch(shared);
      return shared;
    }
    const made = free === undefined ? this.make(at) : this.makeFree(free);
    this.store.add(this.known, at.number, made);
    if (free !== undefined) this.sameAs.set(free.key, at.number);
    return made;
  }

  /** A place inside of a string of any characters, where the grammar decides about its end only. */
  private freeOf(at: Configuration): FreePlace | undefined {
    const { lexemes } = this.automaton;
    const [state] = at.states;
    if (state === undefined || at.states.length > 1 || at.tokens.length > 0 || !lexemes.isJson(state)) return undefined;
    const term = lexemes.betweenCharacters(state);
    const lengths = term && lengthsOf(lexemes.terms, term);
    if (lengths === undefined || lengths[0] > mostLeast) return undefined;
    let behind = at.number;
    // Where the string is closed does not depend on its characters.
    for (let n = 0; n < lengths[0] && behind >= 0; n++) behind = this.stepFrom(behind, 0x61);
    if (behind >= 0) behind = this.stepFrom(behind, 0x22);
    const { free, longestPlain } = this.vocabulary;
    const most = Math.min(lengths[1], Math.max(free.mostRoom, longestPlain));
    return { behind, least: lengths[0], most, key: `${behind},${lengths[0]},${most}` };
  }

  private stepFrom(number: number, byte: number): number {
    return this.automaton.step(this.automaton.configuration(number), byte);
  }

  private makeFree({ behind, least, most }: FreePlace): AllowedTokens {
    const { plain, longestPlain, free, rest } = this.vocabulary;
    const bits = plain[Math.min(most, longestPlain)]!.slice();
    const { ids, room, exits, before } = free;
    for (let i = 0; i < ids.length; i++) if (room[i]! <= most) set(bits, ids[i]!);
    if (behind >= 0) {
      const to = this.automaton.configuration(behind);
      for (let e = 0; e < exits.length; e++) {
        if (before[e]! >= least && before[e]! <= most) this.walkBelow(rest, exits[e]!, to, bits);
      }
    }
    return listed(bits);
  }

  forget(): void {
    this.store.drop(this.known);
  }

  private make(at: Configuration): AllowedTokens {
    const { vocabulary } = this;
    const slice = this.slice(at);
    const bits = slice === undefined ? new Uint32Array(Math.ceil(vocabulary.size / 32)) : slice.slice();
    this.walk(slice === undefined ? vocabulary.trie : vocabulary.rest, at, bits);
    for (const { ids, except } of at.tokens) {
      if (except) for (let id = 0; id < vocabulary.size; id++) if (!ids.has(id)) set(bits, id);
      if (!except) for (const id of ids) set(bits, id);
    }
    for (const id of vocabulary.endOfGeneration) {
      if (at.accepts) set(bits, id);
      else if (!at.tokens.some((t) => !t.except && t.ids.has(id))) bits[id >> 5]! &= ~(1 << (id & 31));
    }
    return listed(bits);
  }

  /** Tokens of plain characters, when all those that can follow are known without a walk. */
  private slice({ states }: Configuration): Uint32Array | undefined {
    const { lexemes } = this.automaton;
    const { plain, longestPlain } = this.vocabulary;
    for (const state of states) {
      const term = lexemes.betweenCharacters(state);
      if (term === undefined) continue;
      const free = freedom(lexemes.terms, term, plainCharacters, longestPlain);
      if (free >= longestPlain) return plain[longestPlain];
      // A string that ends by its length: no plain character leads out of it.
      const bounded = free > 0 && lexemes.isJson(state) && longest(lexemes.terms, term) === free;
      if (bounded && states.length === 1) return plain[free];
    }
    return undefined;
  }

  private walk(trie: TokenTrie, from: Configuration, bits: Uint32Array): void {
    this.path[0] = from;
    this.walkNodes(trie, 0, trie.nodes, bits);
  }

  /** The tokens that end at a node, and those below it. @param at behind the node */
  private walkBelow(trie: TokenTrie, node: number, at: Configuration, bits: Uint32Array): void {
    const { first, ids, depth, skip } = trie;
    for (let t = first[node]!; t < first[node + 1]!; t++) set(bits, ids[t]!);
    this.path[depth[node]!] = at;
    this.walkNodes(trie, node + 1, skip[node]!, bits);
  }

  private walkNodes({ byte, depth, skip, first, ids }: TokenTrie, begin: number, end: number, bits: Uint32Array): void {
    const { automaton, path } = this;
    for (let n = begin; n < end; ) {
      const at = path[depth[n]! - 1]!;
      const row = at.row;
      let to = row === undefined ? -2 : row[byte[n]!]!;
      if (to === -2) to = automaton.step(at, byte[n]!);
      if (to < 0) {
        n = skip[n]!;
        continue;
      }
      for (let t = first[n]!; t < first[n + 1]!; t++) {
        const id = ids[t]!;
        bits[id >> 5]! |= 1 << (id & 31);
      }
      path[depth[n]!] = automaton.configuration(to);
      n++;
    }
  }
}

function listed(bits: Uint32Array): AllowedTokens {
  const count = countBits(bits);
  return { bits, count, ids: count <= fewTokens ? listBits(bits, count) : undefined };
}

/** All tokens but these. */
export function banTokens({ size }: ConstraintVocabulary, banned: readonly number[]): AllowedTokens {
  const bits = new Uint32Array(Math.ceil(size / 32)).fill(0xffffffff);
  if (size % 32 !== 0) bits[bits.length - 1] = 2 ** (size % 32) - 1;
  for (const id of banned) bits[id >> 5]! &= ~(1 << (id & 31));
  return { bits, count: countBits(bits), ids: undefined };
}

/** The ends of generation and nothing else. */
export function onlyEnds({ size, endOfGeneration }: ConstraintVocabulary): AllowedTokens {
  const bits = new Uint32Array(Math.ceil(size / 32));
  for (const id of endOfGeneration) set(bits, id);
  return { bits, count: endOfGeneration.length, ids: endOfGeneration.slice().sort() };
}

function set(bits: Uint32Array, id: number): void {
  bits[id >> 5]! |= 1 << (id & 31);
}

function countBits(bits: Uint32Array): number {
  let count = 0;
  for (let word of bits) {
    word -= (word >>> 1) & 0x55555555;
    word = (word & 0x33333333) + ((word >>> 2) & 0x33333333);
    count += Math.imul((word + (word >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
  }
  return count;
}

function listBits(bits: Uint32Array, count: number): Int32Array {
  const out = new Int32Array(count);
  let n = 0;
  for (let w = 0; n < count; w++) {
    for (let word = bits[w]!; word !== 0; word &= word - 1) {
      out[n++] = 32 * w + (31 - Math.clz32(word & -word));
    }
  }
  return out;
}
