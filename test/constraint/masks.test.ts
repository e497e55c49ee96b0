/** Masks against asking for each token alone, the tree of tokens against sorting, and what is kept. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Constraints } from "../../src/sampling/constraint/constraint.js";
import type { Matcher } from "../../src/sampling/constraint/matcher.js";
import { Account, Terms } from "../../src/sampling/constraint/regex/terms.js";
import type { Constraint } from "../../src/sampling/constraint/source.js";
import { buildTrie, packTokens } from "../../src/sampling/constraint/token-trie.js";
import { makeVocabulary } from "../../src/sampling/constraint/vocabulary.js";
import { Rng } from "../../src/sampling/rng.js";
import { diceOf, gbnfOf, randomGrammar, randomSchema } from "./random-schema.js";
import { bytesTokenizer, endToken } from "./support.js";

const words = [
  "{",
  '{"',
  '": "',
  '",',
  "name",
  "na",
  '"}',
  "é",
  " ",
  "\n  ",
  "12",
  "true",
  "ab\\n",
  "\\u00",
  "日本",
  "]",
  "[1",
  ", ",
  "aaaa",
  "a",
];
const tokenizer = bytesTokenizer(words);
const constraints = new Constraints(tokenizer);

const cases: readonly Constraint[] = [
  { kind: "json_schema", schema: true },
  {
    kind: "json_schema",
    schema: {
      type: "object",
      properties: {
        name: { type: "string", maxLength: 6 },
        n: { type: "integer" },
        list: { items: { enum: [1, 12] } },
      },
      required: ["name"],
      additionalProperties: { type: "boolean" },
    },
    options: { order: "any" },
  },
  { kind: "json_schema", schema: { type: "string", minLength: 2, maxLength: 5 } },
  { kind: "json_schema", schema: { type: "string", pattern: "^[a-zé]{2,4}n?$" } },
  { kind: "gbnf", grammar: 'root ::= [^\\n]* "\\n  " ("a"{0,4} | "name")' },
  { kind: "regex", pattern: '[\\s\\S]{0,3}"|.*true' },
  { kind: "lark", grammar: 'start: "na" /[a-z]*/ | start "12"' },
];

function allowedByHand(matcher: Matcher): number[] {
  const found: number[] = [];
  for (let id = 0; id < tokenizer.size; id++) {
    if (id === endToken ? matcher.accepts : matcher.fork().accept(id)) found.push(id);
  }
  return found;
}

function allowed(matcher: Matcher): number[] {
  const { bits, count, ids } = matcher.allowed();
  const found = Array.from({ length: tokenizer.size }, (_, id) => id).filter(
    (id) => ((bits[id >> 5]! >>> (id & 31)) & 1) === 1,
  );
  assert.equal(found.length, count);
  if (ids !== undefined) assert.deepEqual([...ids], found);
  return found;
}

test("a mask holds the tokens that may come, each and no other, wherever an answer stands", () => {
  fc.assert(
    fc.property(fc.constantFrom(...cases), fc.infiniteStream(fc.nat(1 << 20)), (constraint, dice) => {
      const matcher = constraints.matcher(constraint);
      for (let step = 0; step < 12; step++) {
        const byHand = allowedByHand(matcher);
        assert.deepEqual(allowed(matcher), byHand);
        const may = byHand.filter((id) => id !== endToken);
        if (may.length === 0) break;
        // Longer tokens more often: they are few among bytes.
        const long = may.filter((id) => id > endToken);
        const from = long.length > 0 && dice.next().value % 3 > 0 ? long : may;
        assert.ok(matcher.accept(from[dice.next().value % from.length]!));
      }
      assert.equal(
        matcher.done,
        allowedByHand(matcher).every((id) => id === endToken),
      );
    }),
    { numRuns: 150 },
  );
});

test("masks of random schemas and grammars hold what may come, whichever others were met before", () => {
  const dice = diceOf(new Rng(7));
  const shared = new Constraints(tokenizer);
  let masks = 0;
  for (let n = 0; n < 120; n++) {
    const constraint: Constraint =
      dice(4) === 0
        ? { kind: "gbnf", grammar: gbnfOf(randomGrammar(dice)) }
        : { kind: "json_schema", schema: randomSchema(dice), options: { order: dice(2) === 0 ? "any" : "declared" } };
    let matcher: Matcher;
    try {
      matcher = shared.matcher(constraint);
    } catch {
      continue; // nothing satisfies it
    }
    for (let step = 0; step < 10; step++, masks++) {
      const byHand = allowedByHand(matcher);
      assert.deepEqual(allowed(matcher), byHand, JSON.stringify(constraint));
      const may = byHand.filter((id) => id !== endToken);
      const long = may.filter((id) => id > endToken);
      const from = long.length > 0 && dice(3) > 0 ? long : may;
      if (from.length === 0 || !matcher.accept(from[dice(from.length)]!)) break;
    }
  }
  assert.ok(masks > 500);
});

test("what one grammar makes of terms is not charged to another", () => {
  const terms = new Terms(new Account(40));
  terms.literal("abcdefghijkl");
  assert.throws(() => terms.literal("mnopqrstuvwxyzäöüABCDEFGHIJKLMN"), /more than 40 states/);
  terms.account = new Account(40);
  assert.equal(terms.literal("abcdefghijkl").kind, "concat");
  terms.literal("0123456789");
});

test("two bounds of a length are one repetition", () => {
  const terms = new Terms();
  const both = terms.and([terms.repeat(terms.any, 5, Infinity), terms.repeat(terms.any, 0, 80)]);
  assert.equal(both, terms.repeat(terms.any, 5, 80));
  assert.equal(terms.and([terms.repeat(terms.any, 5, 6), terms.repeat(terms.any, 7, 9)]), terms.empty);
});

test("the tree has every token once, in the order of their bytes, twins together", () => {
  const bytes = fc.array(fc.constantFrom(0, 65, 66, 200, 255), { minLength: 0, maxLength: 5 });
  fc.assert(
    fc.property(fc.array(bytes, { maxLength: 40 }), (tokens) => {
      const trie = buildTrie(packTokens(tokens.length, (id) => Uint8Array.from(tokens[id]!)));
      const path: number[] = [];
      const found: [string, number][] = [];
      for (let n = 0; n < trie.nodes; n++) {
        path.length = trie.depth(n) - 1;
        path.push(trie.byte(n));
        for (let t = trie.first[n]!; t < trie.first[n + 1]!; t++) found.push([path.join(), trie.ids[t]!]);
        const next = trie.skip(n);
        assert.ok(next > n && (next === trie.nodes || trie.depth(next) <= trie.depth(n)));
      }
      const expected = tokens.flatMap((token, id): [string, number][] =>
        token.length > 0 ? [[token.join(), id]] : [],
      );
      const order = (a: [string, number], b: [string, number]): number =>
        Buffer.compare(Buffer.from(tokens[a[1]]!), Buffer.from(tokens[b[1]]!)) || a[1] - b[1];
      assert.deepEqual(found, expected.sort(order));
    }),
    { numRuns: 500 },
  );
});

test("slices hold tokens of plain characters only, by their number", () => {
  const { plain, longestPlain, rest } = makeVocabulary(tokenizer);
  assert.equal(longestPlain, 4);
  const has = (k: number, text: string): boolean => {
    const id = 258 + words.indexOf(text);
    return ((plain[k]![id >> 5]! >>> (id & 31)) & 1) === 1;
  };
  assert.ok(
    has(2, "日本") && !has(1, "日本") && has(4, "name") && !has(3, "name") && !has(4, '{"') && !has(4, "ab\\n"),
  );
  assert.ok([...rest.ids].includes(0x22) && [...rest.ids].includes(0xe3) && ![...rest.ids].includes(0x41));
});

test("a constraint is compiled once, however often it is asked for; old ones and their masks go", () => {
  const own = new Constraints(tokenizer);
  const one: Constraint = { kind: "regex", pattern: "a+" };
  const first = own.compile(one);
  assert.equal(own.compile({ ...one, param: "regex" }), first);
  for (let i = 0; i < 40; i++) own.compile({ kind: "choice", choices: [`${i}`] });
  assert.notEqual(own.compile(one), first);
});

test("text that has to come is told as the tokenizer writes it", () => {
  const forced = (choices: readonly string[], said = ""): string => {
    const matcher = constraints.matcher({ kind: "choice", choices });
    matcher.acceptBytes(Buffer.from(said));
    return Buffer.concat([...matcher.forced(16)].map((id) => tokenizer.pieceBytes(id))).toString();
  };
  // The tokenizer of this test writes bytes; "a" may go on as "aaaa" or "ab\n".
  assert.equal(forced(["xyz", "xyw"]), "xy");
  assert.equal(forced(["xyzna"]), "xyz");
  assert.equal(forced(["x", "xy"], "x"), "");
});
