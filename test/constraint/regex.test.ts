/** Patterns as terms against this Node's own regular expressions, and what holds of terms by themselves. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { freedom, isAlive, longest } from "../../src/sampling/constraint/regex/measure.js";
import { parsePattern } from "../../src/sampling/constraint/regex/parse.js";
import { type Term, Terms } from "../../src/sampling/constraint/regex/terms.js";
import { plainCharacters } from "../../src/sampling/constraint/vocabulary.js";
import { workMs } from "../support/work.js";

function matches(terms: Terms, term: Term, text: string): boolean {
  let at = term;
  for (const c of text) at = terms.derive(at, c.codePointAt(0)!);
  return at.nullable;
}

const letter = fc.constantFrom("a", "b", "c", "é", "😀");
const pattern: fc.Arbitrary<string> = fc.letrec<{ all: string }>((tie) => ({
  all: fc.oneof(
    { maxDepth: 5, withCrossShrink: true },
    letter,
    fc.constantFrom("[ab]", "[^a]", ".", "\\w", "\\d", "[a-cé]", "\\u{1F600}", "[\\s\\S]"),
    fc.tuple(tie("all"), tie("all")).map(([a, b]) => a + b),
    fc.tuple(tie("all"), tie("all")).map(([a, b]) => `(?:${a}|${b})`),
    fc
      .tuple(tie("all"), fc.constantFrom("*", "+", "?", "{2}", "{1,3}", "{0,2}", "{2,}"))
      .map(([a, count]) => `(${a})${count}`),
  ),
})).all;
const text = fc.array(fc.oneof(letter, fc.constantFrom("1", "\n", "_")), { maxLength: 7 }).map((c) => c.join(""));

test("a pattern matches the texts it matches in ECMAScript, whole and anywhere, and its contrary the others", () => {
  fc.assert(
    fc.property(pattern, fc.array(text, { minLength: 1, maxLength: 6 }), (source, texts) => {
      const terms = new Terms();
      const whole = parsePattern(terms, source);
      const anywhere = parsePattern(terms, source, { search: true });
      const not = terms.not(whole);
      for (const one of texts) {
        const expected = new RegExp(`^(?:${source})$`, "u").test(one);
        assert.equal(matches(terms, whole, one), expected, `/${source}/ on ${JSON.stringify(one)}`);
        assert.equal(matches(terms, not, one), !expected);
        assert.equal(matches(terms, anywhere, one), new RegExp(source, "u").test(one));
      }
      assert.ok(isAlive(terms, terms.alt([whole, not])));
      assert.ok(!isAlive(terms, terms.and([whole, terms.not(whole), terms.any])));
    }),
    { numRuns: 1500 },
  );
});

test("anchors, flags, classes and escapes", () => {
  const terms = new Terms();
  const search = (source: string, one: string): boolean =>
    matches(terms, parsePattern(terms, source, { search: true }), one);
  assert.ok(search("^a|b$", "axx") && search("^a|b$", "xxb") && !search("^a|b$", "xax"));
  assert.ok(search("^(?:foo|ba[rz])+$", "foobarbaz") && !search("^(?:foo|ba[rz])+$", "foobarb"));
  assert.ok(search("(^a)b", "ab") && !search("(^a)b", "xab"));
  assert.ok(search("^$", "") && !search("^$", "x"));
  assert.ok(search("^[\\w.-]+@\\p{L}+$", "a.b-c@ü"));
  assert.ok(search("(?i)straße", "STRAßE") && search("a(?i:b)c", "aBc") && !search("a(?i:b)c", "aBC"));
  assert.ok(search("^\\x41\\u0042\\cJ\\t$", "AB\n\t"));
  assert.ok(search("^\\ud83d\\ude00$", "😀"));
  assert.ok(matches(terms, parsePattern(terms, "a.c", { dotAll: true }), "a\nc"));
});

test("what cannot be said is refused by name, and nothing takes for ever", () => {
  const terms = new Terms();
  for (const [source, what] of [
    ["(?=a)b", /look-ahead/],
    ["(?<!a)b", /look-behind/],
    ["(a)\\1", /back-reference/],
    ["\\bword", /\\b/],
    ["a**", /repeats a repetition/],
    ["(a", /does not end/],
    ["a)", /partner/],
    ["[b-a]", /range/],
    ["a{3,1}", /most is less/],
    ["(".repeat(1000), /nested/],
    ["\\p{Nonsense}", /not known/],
  ] as const) {
    assert.throws(() => parsePattern(terms, source), { code: "OPTION_INVALID", message: what }, source);
  }
  const began = workMs();
  const many = parsePattern(new Terms(), "^(([a-z]+)*){1,1000}(x{1,500}y{0,100000}){3}$", { search: true });
  assert.ok(many.kind !== "empty" && workMs() - began < 1000);
});

test("counted repetitions stay counters", () => {
  const terms = new Terms();
  const before = terms.size;
  const term = parsePattern(terms, "[a-z]{3,1000000}");
  assert.ok(terms.size - before < 10);
  assert.ok(!matches(terms, term, "ab") && matches(terms, term, "a".repeat(5000)));
  assert.equal(longest(terms, term), 1_000_000);
});

test("how freely a text goes on", () => {
  const terms = new Terms();
  const free = (term: Term): number => freedom(terms, term, plainCharacters, 40);
  assert.equal(free(terms.all), 40);
  assert.equal(free(terms.repeat(terms.any, 0, 7)), 7);
  assert.equal(free(terms.repeat(terms.any, 3, 7)), 7);
  assert.equal(free(terms.minus(terms.all, terms.alt([terms.literal("name"), terms.literal("age")]))), 40);
  assert.equal(free(parsePattern(terms, "[a-z]*")), 0);
  assert.equal(free(parsePattern(terms, "foo", { search: true })), 40);
});
