/**
 * Which tokens a lexeme under way allows by itself, found by a walk over the tree of tokens that no grammar takes part
 * in, and remembered by the lexeme's state: strings, numbers and white space are the same in every schema. Where the
 * lexeme may end inside of a token the grammar decides: those places are kept as exits.
 */
import { type FreeStrings, lengthsOf } from "./free-strings.js";
import { acceptsFlag, freeFlag, goesOnFlag, type Lexemes, unknownStep } from "./grammar/lexemes.js";
import type { MaskStore } from "./mask-store.js";
import { freedom, longest } from "./regex/measure.js";
import { hasTokens, longestToken, plainBelow, type TokenTrie } from "./token-trie.js";
import { type ConstraintVocabulary, plainCharacters } from "./vocabulary.js";

/** Tokens in which a lexeme ends, with these marks. */
export interface Exit {
  readonly marks: readonly number[];
  /** Tokens that end where the lexeme does. */
  readonly ends: Int32Array;
  /** Bytes that come first behind it in others, ascending; those with bytes[i] lie below nodes[from[i]] and on. */
  readonly bytes: Uint8Array;
  readonly from: Int32Array;
  readonly nodes: Int32Array;
}

/** The tokens that a lexeme's state allows. */
export interface LexemeMask {
  readonly number: number;
  /** Tokens that stay inside: as bits where they are many, else as a list. */
  readonly bits: Uint32Array | undefined;
  readonly ids: Int32Array;
  /** The tree whose nodes the exits name. */
  readonly trie: TokenTrie;
  readonly exits: readonly Exit[];
  readonly bytes: number;
}

interface FreePlace {
  readonly least: number;
  /** More than any token has are as many as it has. */
  readonly most: number;
  /** Those of the string when it is closed. */
  readonly marks: readonly number[];
  /** Names the place by all this. */
  readonly key: string;
}

/** A lexeme that may end in more places of the tree is walked together with the grammar. */
const mostEdges = 1 << 15;
/** Up to so many tokens are kept as a list. */
const mostListed = 1024;
/** A string with more characters to come before it may end is looked at as any other text. */
const mostLeast = 64;
const noIds = new Int32Array(0);

export class LexemeMasks {
  private readonly lexemes: Lexemes;
  private readonly vocabulary: ConstraintVocabulary;
  private readonly store: MaskStore;
  private readonly known = new Map<number, LexemeMask>();
  /** States whose masks are those of another one: more room than any token needs is room enough. */
  private readonly free = new Map<string, number>();
  private readonly freePlaces = new Map<number, FreePlace>();
  /** States that may end nearly everywhere. */
  private readonly entangled = new Set<number>();
  private made = 0;
  private readonly path = new Int32Array(longestToken + 1);
  private readonly places: Int32Array;
  /** Room for a mask that is being made. */
  readonly bits: Uint32Array;

  constructor(lexemes: Lexemes, vocabulary: ConstraintVocabulary, store: MaskStore) {
    this.lexemes = lexemes;
    this.vocabulary = vocabulary;
    this.store = store;
    this.places = new Int32Array(vocabulary.trie.ids.length);
    this.bits = new Uint32Array(Math.ceil(vocabulary.size / 32));
  }

  /** @returns undefined where the lexeme may end in so many tokens that nothing is won by looking at it alone */
  of(state: number): LexemeMask | undefined {
    const known = this.known.get(state);
    if (known !== undefined) {
      this.store.touch(known);
      return known;
    }
    if (this.entangled.has(state)) return undefined;
    const free = this.freePlace(state);
    const same = free === undefined ? undefined : this.free.get(free.key);
    const shared = same === undefined ? undefined : this.known.get(same);
    if (shared !== undefined) {
      this.store.touch(shared);
      return shared;
    }
    const mask = this.make(state, free);
    if (mask === undefined) {
      this.entangled.add(state);
      return undefined;
    }
    this.store.add(this.known, state, mask);
    if (free !== undefined) this.free.set(free.key, state);
    return mask;
  }

  forget(): void {
    this.store.drop(this.known);
  }

  /** A place inside of a string of any characters, where the grammar decides about its end only. */
  private freePlace(state: number): FreePlace | undefined {
    const known = this.freePlaces.get(state);
    if (known !== undefined) return known;
    const { lexemes, vocabulary } = this;
    const term = lexemes.isJson(state) ? lexemes.betweenCharacters(state) : undefined;
    const lengths = term && lengthsOf(lexemes.terms, term);
    if (lengths === undefined || lengths[0] > mostLeast) return undefined;
    const most = Math.min(lengths[1], Math.max(vocabulary.free.mostRoom, vocabulary.longestPlain));
    const marks = this.marksBehind(state, lengths[0]);
    const place = { least: lengths[0], most, marks, key: `${lengths[0]},${most},${marks.join()}` };
    this.freePlaces.set(state, place);
    return place;
  }

  /** Marks of the string when it is closed: they do not depend on its characters. */
  private marksBehind(state: number, least: number): readonly number[] {
    let at = state;
    for (let n = 0; n < least && at >= 0; n++) at = this.lexemes.step(at, 0x61);
    if (at >= 0) at = this.lexemes.step(at, 0x22);
    return at < 0 ? [] : this.lexemes.marks(at);
  }

  private make(state: number, free: FreePlace | undefined): LexemeMask | undefined {
    const { vocabulary } = this;
    const walk = new Walk(vocabulary.rest, this.places);
    if (free !== undefined) {
      insideFree(walk, vocabulary.free, free);
      return walk.result(this.made++, vocabulary.plain[Math.min(free.most, vocabulary.longestPlain)]!);
    }
    const slice = this.slice(state);
    if (slice !== undefined) return this.walk(walk, state) ? walk.result(this.made++, slice) : undefined;
    const whole = new Walk(vocabulary.trie, this.places);
    return this.walk(whole, state) ? whole.result(this.made++, undefined, vocabulary.size) : undefined;
  }

  /** Tokens of plain characters, when all those that can follow are known without a walk. */
  private slice(state: number): Uint32Array | undefined {
    const { lexemes } = this;
    const { plain, longestPlain } = this.vocabulary;
    const term = lexemes.betweenCharacters(state);
    if (term === undefined) return undefined;
    const free = freedom(lexemes.terms, term, plainCharacters, longestPlain);
    if (free >= longestPlain) return plain[longestPlain];
    // A string that ends by its length: no plain character leads out of it.
    const bounded = free > 0 && lexemes.isJson(state) && longest(lexemes.terms, term) === free;
    return bounded ? plain[free] : undefined;
  }

  /** @returns whether the exits are few enough */
  private walk(found: Walk, state: number): boolean {
    const { lexemes, path } = this;
    const { nodes, words, first } = found.trie;
    const { places } = found;
    let { table } = lexemes;
    let { stayed } = found;
    // Whether the lexeme may end where it stands was asked before.
    path[0] = state << 3;
    for (let n = 0; n < nodes; ) {
      const word = words[2 * n]!;
      const level = (word >> 8) & 0x7ff;
      const from = path[level - 1]!;
      let to = table[((from >> 3) << 8) | (word & 0xff)]!;
      if (to === unknownStep) {
        lexemes.step(from >> 3, word & 0xff);
        ({ table } = lexemes);
        to = table[((from >> 3) << 8) | (word & 0xff)]!;
      }
      if ((from & acceptsFlag) !== 0) {
        found.leave(n, from >> 3, stayed, lexemes);
        if (found.edges > 4 * mostEdges) return false;
      }
      if (to < 0) {
        n = words[2 * n + 1]!;
        continue;
      }
      if ((word & hasTokens) !== 0) {
        if ((to & goesOnFlag) === 0) found.end(first[n]!, first[n + 1]!, to >> 3, lexemes);
        else for (let t = first[n]!; t < first[n + 1]!; t++) places[stayed++] = t;
      }
      if ((to & freeFlag) !== 0 && (word & plainBelow) !== 0) {
        const next = words[2 * n + 1]!;
        for (let t = first[n + 1]!; t < first[next]!; t++) places[stayed++] = t;
        n = next;
        continue;
      }
      path[level] = to;
      n++;
    }
    found.stayed = stayed;
    return found.prune() <= mostEdges;
  }
}

function insideFree(found: Walk, free: FreeStrings, { least, most, marks }: FreePlace): void {
  const { trie } = found;
  const { first } = trie;
  const { ids, room, exits, before } = free;
  for (let i = 0; i < ids.length; i++) if (room[i]! <= most) found.also(ids[i]!);
  const group = found.groupOf(marks);
  for (let e = 0; e < exits.length; e++) {
    if (before[e]! < least || before[e]! > most) continue;
    const node = exits[e]!;
    for (let t = first[node]!; t < first[node + 1]!; t++) group.ends.push(trie.ids[t]!);
    for (let n = node + 1; n < trie.skip(node); n = trie.skip(n)) group.edges.push(n);
  }
}

interface Group {
  readonly marks: readonly number[];
  readonly ends: number[];
  /** Nodes behind the end of the lexeme. */
  edges: number[];
  /** Tokens that stayed before each of them. */
  readonly stayed: number[];
}

/** Gathers what a walk finds. */
class Walk {
  readonly trie: TokenTrie;
  edges = 0;
  /** The first `stayed`: places in `trie.ids` of the tokens that stay inside, ascending. */
  readonly places: Int32Array;
  stayed = 0;
  private readonly more: number[] = [];
  private readonly groups = new Map<string, Group>();
  private readonly groupOfState = new Map<number, Group>();

  /** @param places room for all tokens */
  constructor(trie: TokenTrie, places: Int32Array) {
    this.trie = trie;
    this.places = places;
  }

  also(id: number): void {
    this.more.push(id);
  }

  groupOf(marks: readonly number[]): Group {
    const key = marks.join();
    let group = this.groups.get(key);
    if (group === undefined) {
      group = { marks, ends: [], edges: [], stayed: [] };
      this.groups.set(key, group);
    }
    return group;
  }

  private groupAt(state: number, lexemes: Lexemes): Group {
    let group = this.groupOfState.get(state);
    if (group === undefined) {
      group = this.groupOf(lexemes.marks(state));
      this.groupOfState.set(state, group);
    }
    return group;
  }

  end(begin: number, end: number, state: number, lexemes: Lexemes): void {
    const { ends } = this.groupAt(state, lexemes);
    for (let t = begin; t < end; t++) ends.push(this.trie.ids[t]!);
  }

  /** The lexeme may end in the state before a node. */
  leave(node: number, state: number, stayed: number, lexemes: Lexemes): void {
    const group = this.groupAt(state, lexemes);
    group.edges.push(node);
    group.stayed.push(stayed);
    this.edges++;
  }

  /** Leaves out the nodes below which all tokens stay inside.  @returns how many are left */
  prune(): number {
    const { trie, places } = this;
    const { first } = trie;
    this.edges = 0;
    for (const group of this.groups.values()) {
      const { edges, stayed } = group;
      group.edges = edges.filter((node, i) => {
        const end = first[trie.skip(node)]!;
        // All of them stay when the last one does as the last of so many.
        const last = stayed[i]! + end - first[node]! - 1;
        return last >= this.stayed || places[last] !== end - 1;
      });
      this.edges += group.edges.length;
    }
    return this.edges;
  }

  /** @param slice tokens that stay inside beside those found  @param size of the vocabulary, where there is no slice */
  result(number: number, slice: Uint32Array | undefined, size = 0): LexemeMask {
    const { trie, more } = this;
    const places = this.places.subarray(0, this.stayed);
    const exits = [...this.groups.values()].map((group) => exitOf(trie, group));
    let bits: Uint32Array | undefined;
    let ids = noIds;
    if (slice === undefined && places.length <= mostListed) ids = places.map((t) => trie.ids[t]!);
    else {
      bits = slice === undefined ? new Uint32Array(Math.ceil(size / 32)) : slice.slice();
      for (const id of more) bits[id >> 5]! |= 1 << (id & 31);
      for (let i = 0; i < places.length; i++) {
        const id = trie.ids[places[i]!]!;
        bits[id >> 5]! |= 1 << (id & 31);
      }
    }
    const edges = exits.reduce((sum, exit) => sum + exit.ends.length + exit.from.length + exit.nodes.length, 0);
    const bytes = 500 + (bits?.byteLength ?? 0) + ids.byteLength + 4 * edges + 300 * exits.length;
    return { number, bits, ids, trie, exits, bytes };
  }
}

function exitOf(trie: TokenTrie, { marks, ends, edges }: Group): Exit {
  const counts = new Int32Array(257);
  for (const node of edges) counts[trie.byte(node) + 1]!++;
  for (let b = 0; b < 256; b++) counts[b + 1]! += counts[b]!;
  const bytes = Uint8Array.from({ length: 256 }, (_, b) => b).filter((b) => counts[b + 1]! > counts[b]!);
  const from = Int32Array.from([...Array.from(bytes, (b) => counts[b]!), edges.length]);
  const next = counts.slice(0, 256);
  const nodes = new Int32Array(edges.length);
  for (const node of edges) nodes[next[trie.byte(node)]!++] = node;
  return { marks, ends: Int32Array.from(ends), bytes, from, nodes };
}
