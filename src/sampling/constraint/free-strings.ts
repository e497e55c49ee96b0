/**
 * The tokens that may come inside of a JSON string of any characters, found once for a vocabulary. Only those that
 * close the string go on in ways that a grammar decides.
 */
import { Lexemes } from "./grammar/lexemes.js";
import { type Term, Terms } from "./regex/terms.js";
import { longestToken, type TokenTrie } from "./token-trie.js";

export interface FreeStrings {
  /** Tokens of `rest` that stay inside, and how many characters the string must have room for. */
  readonly ids: Int32Array;
  readonly room: Uint16Array;
  /** Nodes of `rest` whose byte closes the string, and the characters before it. */
  readonly exits: Int32Array;
  readonly before: Uint16Array;
  /** The largest `room`. */
  readonly mostRoom: number;
}

/** @param rest the tokens that are not of whole plain characters */
export function freeStrings(rest: TokenTrie): FreeStrings {
  const { nodes, first, ids } = rest;
  const lexemes = new Lexemes(new Terms());
  const inside = lexemes.step(lexemes.start("json", lexemes.terms.all), 0x22);
  const states = new Int32Array(longestToken + 1);
  const characters = new Uint16Array(longestToken + 1);
  const [found, room, exits, before]: number[][] = [[], [], [], []];
  states[0] = inside;
  for (let n = 0; n < nodes; ) {
    const level = rest.depth(n);
    const to = lexemes.step(states[level - 1]!, rest.byte(n));
    if (to < 0 || lexemes.accepts(to)) {
      if (to >= 0) {
        exits!.push(n);
        before!.push(characters[level - 1]!);
      }
      n = rest.skip(n);
      continue;
    }
    states[level] = to;
    // A character that is not whole needs room as well.
    characters[level] = characters[level - 1]! + (to === inside ? 1 : 0);
    for (let t = first[n]!; t < first[n + 1]!; t++) {
      found!.push(ids[t]!);
      room!.push(characters[level]! + (to === inside ? 0 : 1));
    }
    n++;
  }
  return {
    ids: Int32Array.from(found!),
    room: Uint16Array.from(room!),
    exits: Int32Array.from(exits!),
    before: Uint16Array.from(before!),
    mostRoom: room!.reduce((most, one) => Math.max(most, one), 0),
  };
}

/** The numbers of characters between which a string of any characters has; undefined where not any may come. */
export function lengthsOf(terms: Terms, term: Term): readonly [least: number, most: number] | undefined {
  // Which key it was is told behind it.
  if (term.kind === "concat" && term.parts[1]!.kind === "mark") return lengthsOf(terms, term.parts[0]!);
  if (term === terms.any) return [1, 1];
  return term.kind === "repeat" && term.parts[0] === terms.any ? [term.least, term.most] : undefined;
}
