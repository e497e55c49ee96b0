/**
 * The form every grammar language is brought into: rules over lexemes. Beside what grammars have there are objects and
 * arrays of JSON, which keep count of what they hold, and tokens by number.
 */
import type { Term } from "../regex/terms.js";
import type { Encoding } from "./lexemes.js";

export type Node =
  | { readonly kind: "lexeme"; readonly encoding: Encoding; readonly term: Term }
  | { readonly kind: "sequence"; readonly items: readonly Node[] }
  | { readonly kind: "choice"; readonly items: readonly Node[] }
  /** `most`: Infinity = any number. Counted, never unfolded. */
  | { readonly kind: "repeat"; readonly item: Node; readonly least: number; readonly most: number }
  | { readonly kind: "rule"; readonly rule: number }
  | { readonly kind: "object"; readonly object: ObjectShape }
  | { readonly kind: "array"; readonly array: ArrayShape }
  | { readonly kind: "entries"; readonly entries: EntriesShape }
  /** One token of these, by number; `except`: one that is none of these. Never matched by text. */
  | { readonly kind: "token"; readonly ids: ReadonlySet<number>; readonly except: boolean };

/** A rule to choose, and which of the shape's demands a value by this rule meets (bits). */
export interface ValueWay {
  readonly rule: number;
  readonly meets: number;
}

export interface DeclaredKey {
  readonly key: string;
  readonly required: boolean;
  readonly ways: readonly ValueWay[];
}

/** Keys that are not declared; the terms of a shape's regions do not overlap. */
export interface KeyRegion {
  /** Over the characters of the key; declared keys are taken out already. */
  readonly term: Term;
  readonly ways: readonly ValueWay[];
}

export interface ObjectShape {
  readonly keys: readonly DeclaredKey[];
  readonly regions: readonly KeyRegion[];
  /** Declared keys come in their order, others behind them; or any key comes at any time. */
  readonly order: "declared" | "any";
  /** Different keys; those not declared count as one. */
  readonly least: number;
  readonly most: number;
  /** Demands that have to be met before the object ends (bits). */
  readonly demands: number;
  readonly space: Space;
}

export interface ArrayShape {
  /** Rules of the first elements, then of all others. */
  readonly first: readonly (readonly ElementWay[])[];
  readonly rest: readonly ElementWay[];
  readonly least: number;
  readonly most: number;
  /** How many elements of each sort there have to be. */
  readonly sorts: readonly { readonly least: number; readonly most: number }[];
  readonly space: Space;
  /** Elements are these scalars, each at most once; `first` and `rest` are not looked at. */
  readonly once?: readonly { readonly encoding: Encoding; readonly term: Term }[];
}

/** Rules in any order, each at most once, all that are required; between two of them the separator's. */
export interface EntriesShape {
  readonly items: readonly { readonly rule: number; readonly required: boolean }[];
  readonly separator?: number;
}

/** A rule to choose, and of which sorts an element by this rule is (bits). */
export interface ElementWay {
  readonly rule: number;
  readonly sorts: number;
}

/** White space between the tokens of JSON, as terms. */
export interface Space {
  /** Behind `{`, `[` and `,`, before `}` and `]`. */
  readonly line: Term;
  /** Around `:`. */
  readonly beforeColon: Term;
  readonly afterColon: Term;
}

export interface Grammar {
  readonly rules: readonly Node[];
  /** Names of rules, for messages. */
  readonly names: readonly string[];
  readonly root: number;
}

export const sequence = (...items: Node[]): Node =>
  items.length === 1 ? items[0]! : { kind: "sequence", items: items.filter((item) => !isEmpty(item)) };
export const choice = (items: readonly Node[]): Node => (items.length === 1 ? items[0]! : { kind: "choice", items });
export const repeat = (item: Node, least: number, most: number): Node =>
  least === 1 && most === 1 ? item : { kind: "repeat", item, least, most };
export const text = (term: Term): Node => ({ kind: "lexeme", encoding: "text", term });
export const ruleOf = (rule: number): Node => ({ kind: "rule", rule });
export const nothing: Node = { kind: "sequence", items: [] };

/** A node whose rules stand `by` further behind: another grammar's, behind those that are there. */
export function moved(node: Node, by: number): Node {
  switch (node.kind) {
    case "rule":
      return ruleOf(node.rule + by);
    case "sequence":
    case "choice":
      return { ...node, items: node.items.map((item) => moved(item, by)) };
    case "repeat":
      return { ...node, item: moved(node.item, by) };
    case "entries": {
      const { items, separator } = node.entries;
      const between = separator === undefined ? {} : { separator: separator + by };
      return { ...node, entries: { items: items.map((item) => ({ ...item, rule: item.rule + by })), ...between } };
    }
    case "object": {
      const ways = <W extends { readonly rule: number }>(list: readonly W[]): W[] =>
        list.map((way) => ({ ...way, rule: way.rule + by }));
      const { keys, regions } = node.object;
      return {
        ...node,
        object: {
          ...node.object,
          keys: keys.map((key) => ({ ...key, ways: ways(key.ways) })),
          regions: regions.map((region) => ({ ...region, ways: ways(region.ways) })),
        },
      };
    }
    case "array": {
      const first = node.array.first.map((list) => list.map((way) => ({ ...way, rule: way.rule + by })));
      const rest = node.array.rest.map((way) => ({ ...way, rule: way.rule + by }));
      return { ...node, array: { ...node.array, first, rest } };
    }
    default:
      return node;
  }
}

function isEmpty(node: Node): boolean {
  return node.kind === "sequence" && node.items.length === 0;
}
