/** Random schemas and grammars, and who judges texts by them without the compiler: ajv, and an obvious recognizer. */
import { Ajv2020 } from "ajv/dist/2020.js";
import type { Rng } from "../../src/sampling/rng.js";

/** Whole numbers below n. */
export type Dice = (n: number) => number;

export function diceOf(rng: Rng): Dice {
  return (n) => Math.floor(rng.uniform() * n);
}

const words = ["a", "name", "käse", "x y", 'q"t', "\\", "日本", "0", "-", ""];

function pick<T>(dice: Dice, list: readonly T[]): T {
  return list[dice(list.length)]!;
}

export function randomSchema(dice: Dice, depth = 3): object | boolean {
  const kinds = depth > 0 ? 15 : 8;
  switch (dice(kinds)) {
    case 0:
      return { type: pick(dice, ["string", "integer", "number", "boolean", "null"]) };
    case 1:
      return {
        enum: Array.from({ length: 1 + dice(4) }, () => pick<unknown>(dice, [...words, 1, 2.5, -3, null, true])),
      };
    case 2:
      return { type: "string", minLength: dice(4), maxLength: 3 + dice(60) };
    case 3:
      return { type: "integer", minimum: dice(40) - 60, maximum: dice(400) };
    case 4:
      return { type: "number", exclusiveMinimum: -dice(20) / 8, maximum: 1 + dice(50) / 4 };
    case 5:
      return { type: "string", pattern: pick(dice, ["^[a-z]{2,5}$", "^x", "\\d+-\\d", "^(foo|bar)+$", "^\\p{L}*$"]) };
    case 6:
      return { type: "integer", multipleOf: 1 + dice(9), minimum: 0, maximum: 50 + dice(500) };
    case 7:
      return { type: "string", not: { enum: [pick(dice, words), pick(dice, words)] }, maxLength: 12 };
    case 8:
      return {
        type: "array",
        items: randomSchema(dice, depth - 1),
        minItems: dice(3),
        maxItems: 2 + dice(4),
      };
    case 9:
      return {
        type: "array",
        prefixItems: [randomSchema(dice, depth - 1), randomSchema(dice, depth - 1)],
        items: dice(2) === 0 ? false : randomSchema(dice, depth - 1),
        maxItems: 4,
      };
    case 10:
      return { anyOf: [randomSchema(dice, depth - 1), randomSchema(dice, depth - 1)] };
    case 11:
      return { type: "array", items: { enum: [1, 2, "x", null] }, contains: { const: 1 }, maxContains: 2, maxItems: 5 };
    case 12: {
      const kind = { enum: ["a", "b"] };
      return {
        type: "object",
        properties: { kind, value: randomSchema(dice, depth - 1) },
        required: ["kind"],
        additionalProperties: false,
        if: { properties: { kind: { const: "a" } } },
        // biome-ignore lint/suspicious/noThenProperty: a keyword of JSON Schema
        then: { required: ["value"] },
      };
    }
    default:
      return randomObject(dice, depth);
  }
}

function randomObject(dice: Dice, depth: number): object {
  const keys = [...new Set(Array.from({ length: 1 + dice(4) }, () => pick(dice, words)))];
  const properties = Object.fromEntries(keys.map((key) => [key, randomSchema(dice, depth - 1)]));
  return {
    type: "object",
    properties,
    required: keys.filter(() => dice(2) === 0),
    ...(dice(3) === 0 && { additionalProperties: randomSchema(dice, 0), maxProperties: keys.length + 2 }),
    ...(dice(4) === 0 && { patternProperties: { "^x": { type: "boolean" } } }),
    ...(dice(4) === 0 && keys.length > 1 && { dependentRequired: { [keys[0]!]: [keys[1]!] } }),
  };
}

const ajv = new Ajv2020({ strict: false, validateFormats: false });

/** @returns undefined when the text holds; else what is wrong */
export function judgeJson(schema: object | boolean, text: string): string | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return `no JSON: ${(error as Error).message}`;
  }
  return ajv.validate(schema, value) ? undefined : ajv.errorsText();
}

/** A grammar as a tree; rules are named r0, r1 ... */
export type Tree =
  | { readonly is: "text"; readonly text: string }
  | { readonly is: "class"; readonly letters: string }
  | { readonly is: "rule"; readonly rule: number }
  | { readonly is: "all" | "one"; readonly of: readonly Tree[] }
  | { readonly is: "many"; readonly of: Tree; readonly least: number; readonly most: number };

/** Rules call later ones anywhere, and earlier ones behind a letter: no left recursion. */
export function randomGrammar(dice: Dice): readonly Tree[] {
  const count = 1 + dice(4);
  const tree = (rule: number, depth: number, leads: boolean): Tree => {
    const kind = dice(depth > 0 ? 7 : 3);
    if (kind === 0) return { is: "text", text: pick(dice, ["a", "b", "ab", "é", '"', "{", "\n"]) };
    if (kind === 1) return { is: "class", letters: pick(dice, ["ab", "xyz", "日本é", "0123456789"]) };
    if (kind === 2) {
      const from = leads ? rule + 1 : 0;
      return from >= count ? { is: "text", text: "c" } : { is: "rule", rule: from + dice(count - from) };
    }
    if (kind === 3) {
      const [least, most] = pick(dice, [
        [0, 1],
        [0, Infinity],
        [1, Infinity],
        [2, 3],
        [0, 4],
      ] as const);
      return { is: "many", of: tree(rule, depth - 1, leads), least, most };
    }
    if (kind === 4) return { is: "one", of: [tree(rule, depth - 1, leads), tree(rule, depth - 1, leads)] };
    // Behind a letter nothing leads any more.
    return {
      is: "all",
      of: [{ is: "text", text: pick(dice, ["a", "("]) }, tree(rule, depth - 1, false), tree(rule, depth - 1, false)],
    };
  };
  return Array.from({ length: count }, (_, rule) => tree(rule, 3, true));
}

export function gbnfOf(rules: readonly Tree[]): string {
  const write = (tree: Tree): string => {
    switch (tree.is) {
      case "text":
        return `"${tree.text.replace(/["\\]/g, "\\$&").replaceAll("\n", "\\n")}"`;
      case "class":
        return `[${tree.letters}]`;
      case "rule":
        return `r${tree.rule}`;
      case "all":
        return `(${tree.of.map(write).join(" ")})`;
      case "one":
        return `(${tree.of.map(write).join(" | ")})`;
      case "many":
        return `(${write(tree.of)}){${tree.least},${tree.most === Infinity ? "" : tree.most}}`;
    }
  };
  return ["root ::= r0", ...rules.map((tree, rule) => `r${rule} ::= ${write(tree)}`)].join("\n");
}

/** Whether a text matches: every end of every part from every place, remembered. */
export function recognizes(rules: readonly Tree[], text: string): boolean {
  const known = new Map<Tree, Map<number, ReadonlySet<number>>>();
  const ends = (tree: Tree, at: number): ReadonlySet<number> => {
    const places = known.get(tree) ?? new Map<number, ReadonlySet<number>>();
    known.set(tree, places);
    const found = places.get(at) ?? find(tree, at);
    places.set(at, found);
    return found;
  };
  const find = (tree: Tree, at: number): ReadonlySet<number> => {
    switch (tree.is) {
      case "text":
        return new Set(text.startsWith(tree.text, at) ? [at + tree.text.length] : []);
      case "class":
        return new Set(at < text.length && tree.letters.includes(text[at]!) ? [at + 1] : []);
      case "rule":
        return ends(rules[tree.rule]!, at);
      case "one":
        return new Set(tree.of.flatMap((part) => [...ends(part, at)]));
      case "all":
        return tree.of.reduce<ReadonlySet<number>>(
          (starts, part) => new Set([...starts].flatMap((start) => [...ends(part, start)])),
          new Set([at]),
        );
      case "many": {
        const found = new Set<number>(tree.least === 0 ? [at] : []);
        let starts = new Set([at]);
        // An empty turn may stand for any that is missing.
        for (let turn = 1; turn <= Math.min(tree.most, text.length + tree.least + 1) && starts.size > 0; turn++) {
          const next = new Set([...starts].flatMap((start) => [...ends(tree.of, start)]));
          if (turn >= tree.least) for (const end of next) found.add(end);
          starts = next;
        }
        return found;
      }
    }
  };
  return ends(rules[0]!, 0).has(text.length);
}
