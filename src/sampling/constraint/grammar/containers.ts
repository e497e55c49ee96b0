/**
 * Objects and arrays of JSON between their tokens: which keys were there, how many elements, and so which key, element
 * or end may come. What is kept in mind is a numbered state, the payload of a frame.
 */
import type { Term } from "../regex/terms.js";
import type { Frame, StackRef } from "./frames.js";
import type { ArrayShape, EntriesShape, ObjectShape, Space } from "./ir.js";
import { KeyTree } from "./key-tree.js";
import type { Lexemes } from "./lexemes.js";

export interface ContainerHost {
  /** A lexeme may come, the frame behind it. */
  lexeme(state: number, frame: Frame): void;
  call(routine: number, frame: Frame): void;
}

interface ObjectState {
  readonly kind: "object";
  /** Which token came last. */
  readonly behind: "open" | "key" | "colon" | "value" | "comma";
  /** Declared keys that were there, by bit; the bit behind them: some other key was there. */
  readonly seen: bigint;
  /** Keys, others as often as they came; 0 where there may be any number. */
  readonly count: number;
  /** Declared order: the first key that may still come; beyond all once another key was there. */
  readonly next: number;
  readonly met: number;
  /** The key just read: number of a declared one, or of a region behind them; -1 = none. */
  readonly key: number;
  /** Where the lexeme of the next key begins; made when asked for. */
  keyLexeme: number | undefined;
}

interface ArrayState {
  readonly kind: "array";
  readonly behind: "open" | "element" | "comma";
  readonly index: number;
  /** Elements of each sort. */
  readonly counts: readonly number[];
  /** Values that were there, by bit. */
  readonly seen: bigint;
}

interface EntriesState {
  readonly kind: "entries";
  /** An entry comes, as a separator was read or none was there yet; otherwise an entry was the last. */
  readonly open: boolean;
  readonly seen: bigint;
}

export class Containers {
  private readonly lexemes: Lexemes;
  private readonly host: ContainerHost;
  private readonly states: (ObjectState | ArrayState | EntriesState)[] = [];
  private readonly numbers = new Map<string, number>();
  private readonly shapes = new Map<object, number>();
  private readonly keyTrees = new Map<ObjectShape, KeyTree>();
  private readonly punctuation = new Map<Space, Punctuation>();

  constructor(lexemes: Lexemes, host: ContainerHost) {
    this.lexemes = lexemes;
    this.host = host;
  }

  openObject(shape: ObjectShape, point: number, stack: StackRef): void {
    const payload = this.object(shape, { behind: "open", seen: 0n, count: 0, next: 0, met: 0, key: -1 });
    this.host.lexeme(this.of(shape.space).openObject, { point, payload, stack });
  }

  /** Goes on behind a token of an object.  @returns whether the object has ended */
  inObject(shape: ObjectShape, point: number, payload: number, stack: StackRef, marks: readonly number[]): boolean {
    const state = this.states[payload]! as ObjectState;
    const { host } = this;
    const signs = this.of(shape.space);
    const go = (change: Partial<ObjectState>): Frame => {
      const { behind, seen, count, next, met, key } = { ...state, ...change };
      return { point, payload: this.object(shape, { behind, seen, count, next, met, key }), stack };
    };
    switch (state.behind) {
      case "open":
        if (closable(shape, state)) host.lexeme(signs.closeEmptyObject, go({ behind: "value", key: -2 }));
        this.offerKeys(shape, state, go({ behind: "key" }));
        return false;
      case "key":
        for (const key of marks) host.lexeme(signs.colon, go({ behind: "colon", key }));
        return false;
      case "colon": {
        const declared = state.key < shape.keys.length;
        const { ways } = declared ? shape.keys[state.key]! : shape.regions[state.key - shape.keys.length]!;
        const after = {
          behind: "value" as const,
          count: shape.most === Number.POSITIVE_INFINITY ? 0 : state.count + 1,
          seen: state.seen | (1n << BigInt(Math.min(state.key, shape.keys.length))),
          next: shape.order === "any" ? 0 : declared ? state.key + 1 : shape.keys.length,
          key: -1,
        };
        for (const { rule, meets } of ways) host.call(rule, go({ ...after, met: state.met | (meets & shape.demands) }));
        return false;
      }
      case "value":
        if (state.key === -2) return true;
        if (closable(shape, state)) host.lexeme(signs.closeObject, go({ key: -2 }));
        if (this.hasKeys(shape, state)) host.lexeme(signs.comma, go({ behind: "comma" }));
        return false;
      case "comma":
        this.offerKeys(shape, state, go({ behind: "key" }));
        return false;
    }
  }

  openArray(shape: ArrayShape, point: number, stack: StackRef): void {
    const payload = this.array(shape, { behind: "open", index: 0, counts: shape.sorts.map(() => 0), seen: 0n });
    this.host.lexeme(this.of(shape.space).openArray, { point, payload, stack });
  }

  /** @returns whether the array has ended */
  inArray(shape: ArrayShape, point: number, payload: number, stack: StackRef): boolean {
    const state = this.states[payload]! as ArrayState;
    const { host } = this;
    const signs = this.of(shape.space);
    const go = (change: Partial<ArrayState>): Frame => {
      const { behind, index, counts, seen } = { ...state, ...change };
      return { point, payload: this.array(shape, { behind, index, counts, seen }), stack };
    };
    const ends = state.index >= shape.least && shape.sorts.every(({ least }, s) => state.counts[s]! >= least);
    switch (state.behind) {
      case "open":
        if (ends) host.lexeme(signs.closeEmptyArray, go({ index: -1, behind: "element" }));
        this.offerElements(shape, state, go);
        return false;
      case "element":
        if (state.index < 0) return true;
        if (ends) host.lexeme(signs.closeArray, go({ index: -1 }));
        if (state.index < shape.most) host.lexeme(signs.comma, go({ behind: "comma" }));
        return false;
      case "comma":
        this.offerElements(shape, state, go);
        return false;
    }
  }

  /** The state before the first entry. */
  noEntries(shape: EntriesShape): number {
    return this.entries(shape, { open: true, seen: 0n });
  }

  /** The state behind the separator that may come; undefined when none may. */
  afterSeparator(shape: EntriesShape, payload: number): number | undefined {
    const { open, seen } = this.states[payload]! as EntriesState;
    return open || this.missing(shape, seen).length === 0 ? undefined : this.entries(shape, { open: true, seen });
  }

  /** @returns whether the entries may end here */
  inEntries(shape: EntriesShape, point: number, payload: number, stack: StackRef): boolean {
    const { open, seen } = this.states[payload]! as EntriesState;
    const { host } = this;
    const missing = this.missing(shape, seen);
    if (open) {
      for (const item of missing) {
        const after = this.entries(shape, { open: shape.separator === undefined, seen: seen | (1n << BigInt(item)) });
        host.call(shape.items[item]!.rule, { point, payload: after, stack });
      }
    } else if (missing.length > 0) {
      host.call(shape.separator!, { point, payload: this.entries(shape, { open: true, seen }), stack });
    }
    const whole = missing.every((item) => !shape.items[item]!.required);
    // Not behind a separator.
    return whole && (!open || seen === 0n || shape.separator === undefined);
  }

  private missing(shape: EntriesShape, seen: bigint): number[] {
    return [...shape.items.keys()].filter((item) => ((seen >> BigInt(item)) & 1n) === 0n);
  }

  private offerElements(shape: ArrayShape, state: ArrayState, go: (change: Partial<ArrayState>) => Frame): void {
    const { host, lexemes } = this;
    const { first, rest, least, most, sorts, once } = shape;
    if (state.index >= most) return;
    // Beyond these elements are all the same.
    const cap = most === Number.POSITIVE_INFINITY ? Math.max(first.length, least) : most;
    const index = Math.min(state.index + 1, cap);
    if (once !== undefined) {
      once.forEach(({ encoding, term }, bit) => {
        if ((state.seen >> BigInt(bit)) & 1n) return;
        const seen = state.seen | (1n << BigInt(bit));
        host.lexeme(lexemes.start(encoding, term), go({ behind: "element", index, seen }));
      });
      return;
    }
    for (const way of first[state.index] ?? rest) {
      const counts = state.counts.map((count, s) => {
        const next = count + ((way.sorts >> s) & 1);
        return sorts[s]!.most === Number.POSITIVE_INFINITY ? Math.min(next, sorts[s]!.least) : next;
      });
      const fits = counts.every((count, s) => count <= sorts[s]!.most && sorts[s]!.least - count <= most - index);
      if (fits) host.call(way.rule, go({ behind: "element", index, counts }));
    }
  }

  private hasKeys(shape: ObjectShape, state: ObjectState): boolean {
    return this.keyLexeme(shape, state) >= 0;
  }

  private offerKeys(shape: ObjectShape, state: ObjectState, frame: Frame): void {
    this.host.lexeme(this.keyLexeme(shape, state), frame);
  }

  /** One lexeme for all keys that may come; its marks say which one it was. */
  private keyLexeme(shape: ObjectShape, state: ObjectState): number {
    state.keyLexeme ??= this.makeKeyLexeme(shape, state);
    return state.keyLexeme;
  }

  private makeKeyLexeme(shape: ObjectShape, state: ObjectState): number {
    const { terms } = this.lexemes;
    const { keys, regions, order, most, least } = shape;
    const seen = Array.from({ length: keys.length + 1 }, (_, k) => ((state.seen >> BigInt(k)) & 1n) === 1n);
    const unseen = keys.reduce((count, _, k) => count + (seen[k] ? 0 : 1), 0);
    const required = keys.reduce((count, key, k) => count + (key.required && !seen[k] ? 1 : 0), 0);
    // What is not declared may come twice, and counts once towards the least number.
    const others = regions.length > 0 && !seen[keys.length] ? 1 : 0;
    const distinct = bitCount(state.seen);
    const open = new Uint8Array(keys.length);
    for (let k = order === "any" ? 0 : state.next; k < keys.length; k++) {
      const key = keys[k]!;
      const needed = required - (key.required ? 1 : 0);
      const behind = order === "any" ? unseen - 1 : keys.length - 1 - k;
      const reaches = distinct + 1 + behind + others >= least;
      if (!seen[k] && state.count + 1 + needed <= most && reaches) {
        open[k] = 1;
      }
      if (order === "declared" && key.required) break;
    }
    const found: Term[] = [this.keyTree(shape).term((k) => open[k] === 1)];
    const reaches = distinct + others + (order === "any" ? unseen : 0) >= least;
    if (state.count + 1 + required <= most && (order === "any" || required === 0) && reaches) {
      regions.forEach((region, r) => {
        found.push(terms.concat(region.term, terms.mark(keys.length + r)));
      });
    }
    return this.lexemes.start("json", terms.alt(found));
  }

  private keyTree(shape: ObjectShape): KeyTree {
    let tree = this.keyTrees.get(shape);
    if (tree === undefined) {
      tree = new KeyTree(
        this.lexemes.terms,
        shape.keys.map(({ key }) => key),
      );
      this.keyTrees.set(shape, tree);
    }
    return tree;
  }

  private of(space: Space): Punctuation {
    let known = this.punctuation.get(space);
    if (known === undefined) {
      known = punctuationOf(this.lexemes, space);
      this.punctuation.set(space, known);
    }
    return known;
  }

  private object(shape: ObjectShape, state: Omit<ObjectState, "kind" | "keyLexeme">): number {
    const { behind, seen, count, next, met, key } = state;
    const name = `o${this.shape(shape)},${behind},${seen},${count},${next},${met},${key}`;
    return this.intern(name, () => ({ kind: "object", ...state, keyLexeme: undefined }));
  }

  private array(shape: ArrayShape, state: Omit<ArrayState, "kind">): number {
    const name = `a${this.shape(shape)},${state.behind},${state.index},${state.counts.join("/")},${state.seen}`;
    return this.intern(name, () => ({ kind: "array", ...state }));
  }

  private entries(shape: EntriesShape, { open, seen }: Omit<EntriesState, "kind">): number {
    return this.intern(`e${this.shape(shape)},${open},${seen}`, () => ({ kind: "entries", open, seen }));
  }

  private intern(name: string, make: () => ObjectState | ArrayState | EntriesState): number {
    const known = this.numbers.get(name);
    if (known !== undefined) return known;
    this.states.push(make());
    this.numbers.set(name, this.states.length - 1);
    return this.states.length - 1;
  }

  private shape(shape: object): number {
    const known = this.shapes.get(shape);
    if (known !== undefined) return known;
    this.shapes.set(shape, this.shapes.size);
    return this.shapes.size - 1;
  }
}

function closable({ keys, least, demands }: ObjectShape, { seen, met }: ObjectState): boolean {
  if (bitCount(seen) < least || (met & demands) !== demands) return false;
  return keys.every((key, k) => !key.required || ((seen >> BigInt(k)) & 1n) === 1n);
}

function bitCount(bits: bigint): number {
  let count = 0;
  for (let left = bits; left > 0n; left &= left - 1n) count++;
  return count;
}

/** The lexemes between values; numbers of their first states. */
interface Punctuation {
  readonly openObject: number;
  readonly closeEmptyObject: number;
  readonly closeObject: number;
  readonly openArray: number;
  readonly closeEmptyArray: number;
  readonly closeArray: number;
  readonly comma: number;
  readonly colon: number;
}

function punctuationOf(lexemes: Lexemes, { line, beforeColon, afterColon }: Space): Punctuation {
  const { terms } = lexemes;
  const start = (...parts: Term[]): number => lexemes.start("text", terms.sequence(parts));
  const sign = (text: string): Term => terms.literal(text);
  return {
    openObject: start(sign("{"), line),
    closeEmptyObject: start(sign("}")),
    closeObject: start(line, sign("}")),
    openArray: start(sign("["), line),
    closeEmptyArray: start(sign("]")),
    closeArray: start(line, sign("]")),
    comma: start(sign(","), line),
    colon: start(beforeColon, sign(":"), afterColon),
  };
}
