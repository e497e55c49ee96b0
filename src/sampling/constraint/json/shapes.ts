/**
 * Sets of JSON values, closed under "and", "or" and "not" as far as a grammar can say them: which literals, which
 * texts of numbers and characters of strings (terms), and for arrays and objects lists of records of which one has to
 * hold. What is inside of an array or an object are expressions, looked into when they are needed: schemas are
 * recursive.
 */
import { isAlive } from "../regex/measure.js";
import type { Term, Terms } from "../regex/terms.js";
import type { Expression, Expressions } from "./expressions.js";
import type { NumberSet, Numbers } from "./numbers.js";

export interface Shape {
  readonly null: boolean;
  readonly true: boolean;
  readonly false: boolean;
  readonly number: NumberSet;
  /** Over the characters of the string. */
  readonly string: Term;
  readonly arrays: readonly ArrayRecord[];
  readonly objects: readonly ObjectRecord[];
}

export interface ArrayRecord {
  readonly first: readonly Expression[];
  readonly rest: Expression;
  readonly least: number;
  readonly most: number;
  readonly contains: readonly Contains[];
  readonly unique: boolean;
}

/** So many elements, from an index on, have to be in a set. */
export interface Contains {
  readonly element: Expression;
  readonly least: number;
  readonly most: number;
  readonly from: number;
}

export interface ObjectRecord {
  readonly properties: ReadonlyMap<string, Expression>;
  readonly required: ReadonlySet<string>;
  /** The values of keys that are not declared; terms do not overlap, a key in none of them is forbidden. */
  readonly regions: readonly Region[];
  readonly least: number;
  readonly most: number;
  /** Some key of the term has to have a value of the set. */
  readonly some: readonly { readonly term: Term; readonly value: Expression }[];
}

export interface Region {
  readonly term: Term;
  readonly value: Expression;
  /** Nothing was said of these keys: a closed reading may leave them out. */
  readonly implicit: boolean;
}

/** A thing a grammar cannot say, with the keyword that asks for it. */
export class Unsupported extends Error {
  readonly keyword: string;
  readonly path: string;
  readonly reason: string;

  constructor(keyword: string, path: string, reason: string) {
    super(`${keyword} at ${path}: ${reason}`);
    this.keyword = keyword;
    this.path = path;
    this.reason = reason;
  }
}

/** Alternatives multiply: more than these are given up. */
const mostRecords = 256;
const mostRegions = 64;

export class Shapes {
  readonly terms: Terms;
  readonly numbers: Numbers;
  readonly any: Shape;
  readonly never: Shape;
  readonly anyObject: ObjectRecord;
  readonly anyArray: ArrayRecord;
  private readonly expressions: Expressions;

  constructor(terms: Terms, numbers: Numbers, expressions: Expressions) {
    this.terms = terms;
    this.numbers = numbers;
    this.expressions = expressions;
    const { any } = expressions;
    this.anyObject = this.object({});
    this.anyArray = { first: [], rest: any, least: 0, most: Number.POSITIVE_INFINITY, contains: [], unique: false };
    const all = { null: true, true: true, false: true, string: terms.all } as const;
    this.any = { ...all, number: this.everyNumber, arrays: [this.anyArray], objects: [this.anyObject] };
    this.never = {
      null: false,
      true: false,
      false: false,
      number: { plain: terms.empty, every: false },
      string: terms.empty,
      arrays: [],
      objects: [],
    };
  }

  get everyNumber(): NumberSet {
    return { plain: this.numbers.all, every: true };
  }

  /** A record that says what is given and nothing else. */
  object(given: Partial<ObjectRecord>): ObjectRecord {
    return {
      properties: new Map(),
      required: new Set(),
      regions: [{ term: this.terms.all, value: this.expressions.any, implicit: true }],
      least: 0,
      most: Number.POSITIVE_INFINITY,
      some: [],
      ...given,
    };
  }

  /** Values of the other kinds are all in. */
  onlyObjects(objects: readonly ObjectRecord[]): Shape {
    return { ...this.any, objects };
  }

  onlyArrays(arrays: readonly ArrayRecord[]): Shape {
    return { ...this.any, arrays };
  }

  and(a: Shape, b: Shape): Shape {
    if (a === this.any) return b;
    if (b === this.any) return a;
    const { terms } = this;
    return {
      null: a.null && b.null,
      true: a.true && b.true,
      false: a.false && b.false,
      number: this.andNumbers(a.number, b.number),
      string: terms.and([a.string, b.string]),
      arrays: product(a.arrays, b.arrays, (x, y) => this.andArrays(x, y)),
      objects: product(a.objects, b.objects, (x, y) => this.andObjects(x, y)),
    };
  }

  or(a: Shape, b: Shape): Shape {
    const { terms } = this;
    return {
      null: a.null || b.null,
      true: a.true || b.true,
      false: a.false || b.false,
      number: { plain: terms.alt([a.number.plain, b.number.plain]), every: a.number.every || b.number.every },
      string: terms.alt([a.string, b.string]),
      arrays: bounded([...new Set([...a.arrays, ...b.arrays])]),
      objects: bounded([...new Set([...a.objects, ...b.objects])]),
    };
  }

  /** @throws Unsupported when the complement cannot be said */
  not(shape: Shape): Shape {
    const { terms, numbers } = this;
    const { number } = shape;
    const plain = number.every ? terms.empty : terms.minus(numbers.all, number.plain);
    return {
      null: !shape.null,
      true: !shape.true,
      false: !shape.false,
      number: plain === numbers.all || number.plain === terms.empty ? this.everyNumber : { plain, every: false },
      string: terms.not(shape.string),
      arrays: shape.arrays
        .map((record) => this.notArray(record))
        .reduce((all, ways) => product(all, ways, (x, y) => this.andArrays(x, y)), [this.anyArray] as ArrayRecord[]),
      objects: shape.objects
        .map((record) => this.notObject(record))
        .reduce((all, ways) => product(all, ways, (x, y) => this.andObjects(x, y)), [this.anyObject] as ObjectRecord[]),
    };
  }

  private andNumbers(a: NumberSet, b: NumberSet): NumberSet {
    if (a.every) return b;
    if (b.every) return a;
    return { plain: this.terms.and([a.plain, b.plain]), every: false };
  }

  private andArrays(a: ArrayRecord, b: ArrayRecord): ArrayRecord {
    if (a === this.anyArray) return b;
    if (b === this.anyArray) return a;
    const { expressions } = this;
    const length = Math.max(a.first.length, b.first.length);
    return {
      first: Array.from({ length }, (_, i) => expressions.and([elementAt(a, i), elementAt(b, i)])),
      rest: expressions.and([a.rest, b.rest]),
      least: Math.max(a.least, b.least),
      most: Math.min(a.most, b.most),
      contains: [...a.contains, ...b.contains],
      unique: a.unique || b.unique,
    };
  }

  private andObjects(a: ObjectRecord, b: ObjectRecord): ObjectRecord {
    if (a === this.anyObject) return b;
    if (b === this.anyObject) return a;
    const { expressions, terms } = this;
    const keys = new Set([...a.properties.keys(), ...b.properties.keys()]);
    const properties = new Map<string, Expression>();
    for (const key of keys) properties.set(key, expressions.and([this.valueOf(a, key), this.valueOf(b, key)]));
    const regions: Region[] = [];
    for (const x of a.regions) {
      for (const y of b.regions) {
        const term = terms.and([x.term, y.term]);
        if (!isAlive(terms, term)) continue;
        regions.push({ term, value: expressions.and([x.value, y.value]), implicit: x.implicit && y.implicit });
      }
    }
    if (regions.length > mostRegions) throw new Unsupported("patternProperties", "#", "too many that overlap");
    return {
      properties,
      required: new Set([...a.required, ...b.required]),
      regions,
      least: Math.max(a.least, b.least),
      most: Math.min(a.most, b.most),
      some: [...a.some, ...b.some],
    };
  }

  /** The shape the value of a key has to have. */
  valueOf({ properties, regions }: ObjectRecord, key: string): Expression {
    const declared = properties.get(key);
    if (declared !== undefined) return declared;
    return regions.find(({ term }) => this.matches(term, key))?.value ?? this.expressions.never;
  }

  matches(term: Term, text: string): boolean {
    let at = term;
    for (const character of text) at = this.terms.derive(at, character.codePointAt(0)!);
    return at.nullable;
  }

  /** Regions without those that hold no key. */
  living(regions: readonly Region[]): Region[] {
    return regions.filter(({ term }) => isAlive(this.terms, term));
  }

  /** Whether a value may be in both; true when that is not easy to tell. */
  mayOverlap(a: Shape, b: Shape, look: (expression: Expression) => Shape | undefined): boolean {
    return !this.isEmpty(this.and(a, b), look, 4);
  }

  private isEmpty(shape: Shape, look: (expression: Expression) => Shape | undefined, depth: number): boolean {
    const { terms, expressions } = this;
    if (shape.null || shape.true || shape.false || shape.number.every) return false;
    if (isAlive(terms, shape.number.plain) || isAlive(terms, shape.string)) return false;
    const nothing = (expression: Expression): boolean => {
      if (expression === expressions.never) return true;
      if (expression === expressions.any || depth === 0) return false;
      const inside = look(expression);
      return inside !== undefined && this.isEmpty(inside, look, depth - 1);
    };
    const emptyObject = (record: ObjectRecord): boolean =>
      record.least > record.most ||
      record.required.size > record.most ||
      [...record.required].some((key) => nothing(this.valueOf(record, key)));
    const emptyArray = (record: ArrayRecord): boolean =>
      record.least > record.most ||
      record.first.slice(0, record.least).some(nothing) ||
      (record.least > record.first.length && nothing(record.rest));
    return shape.objects.every(emptyObject) && shape.arrays.every(emptyArray);
  }

  /** Arrays that are not in a record: of each thing it says one that does not hold. */
  private notArray(record: ArrayRecord): ArrayRecord[] {
    const { anyArray, expressions } = this;
    const { first, rest, least, most, contains, unique } = record;
    if (unique) throw new Unsupported("uniqueItems", "#", "its contrary cannot be said");
    const ways: ArrayRecord[] = [];
    first.forEach((element, i) => {
      if (element === expressions.any) return;
      const before = Array.from({ length: i }, () => expressions.any);
      ways.push({ ...anyArray, first: [...before, expressions.not(element)], least: i + 1 });
    });
    if (rest !== expressions.any) {
      const one = { element: expressions.not(rest), least: 1, most: Number.POSITIVE_INFINITY, from: first.length };
      ways.push({ ...anyArray, contains: [one] });
    }
    if (least > 0) ways.push({ ...anyArray, most: least - 1 });
    if (most < Number.POSITIVE_INFINITY) ways.push({ ...anyArray, least: most + 1 });
    for (const demand of contains) {
      if (demand.least > 0) ways.push({ ...anyArray, contains: [{ ...demand, least: 0, most: demand.least - 1 }] });
      if (demand.most < Number.POSITIVE_INFINITY) {
        const more = { ...demand, least: demand.most + 1, most: Number.POSITIVE_INFINITY };
        ways.push({ ...anyArray, contains: [more] });
      }
    }
    return ways;
  }

  private notObject(record: ObjectRecord): ObjectRecord[] {
    const { expressions, terms } = this;
    const { properties, required, regions, least, most, some } = record;
    const ways: ObjectRecord[] = [];
    for (const key of required) ways.push(this.object({ properties: new Map([[key, expressions.never]]) }));
    for (const [key, value] of properties) {
      if (value === expressions.any) continue;
      ways.push(this.object({ properties: new Map([[key, expressions.not(value)]]), required: new Set([key]) }));
    }
    const declared = terms.alt([...properties.keys()].map((key) => terms.literal(key)));
    for (const { term, value } of regions) {
      if (value === expressions.any) continue;
      ways.push(this.object({ some: [{ term: terms.minus(term, declared), value: expressions.not(value) }] }));
    }
    const rest = terms.not(terms.alt([declared, ...regions.map(({ term }) => term)]));
    if (isAlive(terms, rest)) ways.push(this.object({ some: [{ term: rest, value: expressions.any }] }));
    if (least > 0) ways.push(this.object({ most: least - 1 }));
    if (most < Number.POSITIVE_INFINITY) ways.push(this.object({ least: most + 1 }));
    for (const { term, value } of some) {
      const none = { term, value: expressions.not(value), implicit: false };
      const other = { term: terms.not(term), value: expressions.any, implicit: true };
      ways.push(this.object({ regions: [none, other] }));
    }
    return ways;
  }
}

export function elementAt({ first, rest }: ArrayRecord, index: number): Expression {
  return first[index] ?? rest;
}

function product<T>(a: readonly T[], b: readonly T[], join: (x: T, y: T) => T): T[] {
  if (a.length * b.length > mostRecords) throw new Unsupported("anyOf", "#", "its alternatives multiply beyond bounds");
  return a.flatMap((x) => b.map((y) => join(x, y)));
}

function bounded<T>(records: readonly T[]): readonly T[] {
  if (records.length > mostRecords) throw new Unsupported("anyOf", "#", "it has too many alternatives");
  return records;
}
