/** Grammars in each language: what they accept, what is wrong in them and where. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Constraint } from "../../src/sampling/constraint/source.js";
import { workMs } from "../support/work.js";
import { endToken, Judge, toolToken } from "./support.js";

const judge = new Judge();
const gbnf = (grammar: string): Constraint => ({ kind: "gbnf", grammar });
const lark = (grammar: string): Constraint => ({ kind: "lark", grammar });

function check(
  constraint: Constraint,
  whole: readonly string[],
  prefixes: readonly string[],
  wrong: readonly string[],
) {
  for (const text of whole) assert.equal(judge.of(constraint, text), "whole", JSON.stringify(text));
  for (const text of prefixes) assert.equal(judge.of(constraint, text), "prefix", JSON.stringify(text));
  for (const text of wrong) assert.equal(judge.of(constraint, text), "wrong", JSON.stringify(text));
}

test("GBNF: literals, classes, repetitions, groups, comments, lines", () => {
  check(
    gbnf(`# a list
root ::= "[" (item ("," item)*)? "]" # the end
item ::=
  [0-9]{1,3} |
  "\\"" [^"\\\\\\n]* "\\"" | "\\x41\\u00e9\\U0001F600" . | [\\]-]`),
    ["[]", "[1,22,333]", '["é😀",""]', "[Aé😀\n]", "[-]", "[],-]"],
    ["", "[", "[1", "[1,", "[Aé😀"],
    ["[1234", "[,", '["\n', "[1]]"],
  );
  check(gbnf('root ::= a\na ::= "x"\na ::= "y"'), ["y"], [""], ["x"]);
  check(gbnf('root ::= ("a" | "")* "b"{2,}'), ["bb", "aabbb"], ["aab"], ["c", "ba"]);
  check(gbnf('root ::= "a"{0,100000} "b"'), ["b", `${"a".repeat(3000)}b`], [""], ["bb"]);
});

test("GBNF: recursion, the end anywhere it may be, ambiguity without blow-up", () => {
  check(
    gbnf('root ::= "(" root ")" | "" | root2\nroot2 ::= "x" root2 | "x"'),
    ["", "()", "((x))", "xx"],
    ["((", "((x"],
    [")", "(x))"],
  );
  const deep = 5000;
  check(
    gbnf('root ::= "(" root ")" | "x"'),
    [`${"(".repeat(deep)}x${")".repeat(deep)}`],
    ["(".repeat(deep)],
    [`${"(".repeat(deep)}x${")".repeat(deep + 1)}`],
  );
  const doubt = gbnf('root ::= "a" root "b" | "a" root "c" | ""');
  const began = workMs();
  check(doubt, [`${"a".repeat(60)}${"bc".repeat(30)}`], [`${"a".repeat(60)}b`], ["b"]);
  assert.ok(workMs() - began < 2000);
});

test("GBNF: tokens by number and by name, and any but one", () => {
  const matcher = judge.matcher(gbnf('root ::= <tool> "x" !<[65]> | "plain"'));
  assert.equal(matcher.accept(endToken), false);
  const byText = matcher.fork();
  assert.ok(byText.acceptBytes(Buffer.from("plain")) && byText.done);
  assert.equal(matcher.fork().acceptBytes(Buffer.from("<tool>")), false, "text is no token");
  assert.ok(matcher.accept(toolToken) && matcher.accept(0x78));
  const { bits } = matcher.allowed();
  const may = (id: number): boolean => ((bits[id >> 5]! >>> (id & 31)) & 1) === 1;
  assert.ok(may(0x42) && may(toolToken) && !may(65) && !may(endToken));
  assert.ok(!matcher.fork().accept(65) && matcher.accept(toolToken) && matcher.done && matcher.accepts);
});

test("GBNF: what is wrong is told with its line", () => {
  for (const [grammar, message] of [
    ["root ::= x", /'x' is used and nowhere defined/],
    ['start ::= "a"', /no rule 'root'/],
    ['root ::= "a', /ends inside/],
    ["root ::= [a", /ends inside/],
    ['root ::= "\\q"', /no escape/],
    ['root ::= "a"{,3}', /\{m,n\}/],
    ['root ::= "a"{3,1}', /allows no number/],
    ['\nroot ::= ("a"', /line 2/],
    ['root ::= root "a" | "b"', /begins with itself/],
    ['root ::= a\na ::= ("x"?) b\nb ::= a "y" | "z"', /begins with itself/],
    ['root ::= "a" root', /no text satisfies it/],
    ["root ::= <nonsense>", /not one token/],
    ["root ::= <[99999]>", /not in the vocabulary/],
    ["root ::= *", /nothing before it/],
  ] as const) {
    assert.throws(() => judge.matcher(gbnf(grammar)), { code: "OPTION_INVALID", message }, grammar);
  }
});

/** The tool of Codex: its grammar as it sends it. */
const applyPatch = `start: begin_patch hunk+ end_patch
begin_patch: "*** Begin Patch" LF
end_patch: "*** End Patch" LF?

hunk: add_hunk | delete_hunk | update_hunk
add_hunk: "*** Add File: " filename LF add_line+
delete_hunk: "*** Delete File: " filename LF
update_hunk: "*** Update File: " filename LF change_move? change?

filename: /(.+)/
add_line: "+" /(.*)/ LF -> line

change_move: "*** Move to: " filename LF
change: (change_context | change_line)+ eof_line?
change_context: ("@@" | "@@ " /(.+)/) LF
change_line: ("+" | "-" | " ") /(.*)/ LF
eof_line: "*** End of File" LF

%import common.LF
`;

test("Lark: the patches of Codex", () => {
  const patch = `*** Begin Patch
*** Add File: hello.txt
+Hello, wörld
+
*** Update File: src/a.ts
*** Move to: src/b.ts
@@ class A
-old
+new
 same
*** End of File
*** Delete File: gone.md
*** End Patch`;
  check(
    lark(applyPatch),
    [patch, `${patch}\n`],
    ["", "*** Begin Patch\n", patch.slice(0, 60)],
    ["*** Begin Patch\n*** End Patch", "*** Begin\n", patch.replace("+Hello", "Hello"), `${patch}\n\n`],
  );
});

test("Lark: terminals, flags, ranges, counts, options, imports, what is ignored, left recursion", () => {
  check(
    lark(`start: sum
sum: sum ("+" | "-") product | product
product: product "*" atom | atom
atom: NUMBER | NAME | "(" sum ")"
NAME: ("a".."z" | "_") /[a-z0-9_]/* ~ 0..1
NUMBER: /[0-9]+(\\.[0-9]+)?/
%import common.WS_INLINE
%ignore WS_INLINE`),
    ["1+2*3", " a * ( b - 2.5 ) ", "_"],
    ["", "1 +", "(1"],
    ["1 2", "+1", "1\n"],
  );
  check(
    lark('start: "select"i WS [NAME] "x"~2..3\n%import common.WS\n%import common.CNAME -> NAME'),
    ["SELECT xx", "select\tnamexxx"],
    ["Sel"],
    ["selectxx"],
  );
  check(lark('start: x | y\nx: y "a" | "b"\ny: x "c" | "d"'), ["b", "d", "bca", "dac", "bcac"], [""], ["a", "cb"]);
  check(lark('!start.2: "a"{2,3} -> two\n  | "b" // done'), ["aa", "aaa", "b"], ["a"], ["aaaa", "ab"]);
  for (const [grammar, message] of [
    ["start: x", /'x' is used and nowhere defined/],
    ['a: "x"', /no rule 'start'/],
    ['start: "a"\n%import python.NAME', /only common/],
    ['start: "a"\n%import common.NOTHING', /no such terminal/],
    ['start: "a"\n%declare X', /%declare is not supported/],
    ["start: /a(?=b)/", /look-ahead/],
    ['start: "a"\nstart: "b"', /defined twice/],
    ['start: ("a"', /line 1: '\)' is expected/],
    ["start{x}: x", /templates/],
  ] as const) {
    assert.throws(() => judge.matcher(lark(grammar)), { code: "OPTION_INVALID", message }, grammar);
  }
});

test("patterns and choices", () => {
  check({ kind: "regex", pattern: "(?i)yes|no\\.{2,}" }, ["Yes", "nO.."], ["n"], ["yess", "maybe"]);
  check(
    { kind: "choice", choices: ["red", "reddish", "grün"] },
    ["red", "reddish", "grün"],
    ["re", "redd"],
    ["b", "redx"],
  );
  assert.throws(() => judge.matcher({ kind: "choice", choices: [] }), { code: "OPTION_INVALID" });
  assert.throws(() => judge.matcher({ kind: "regex", pattern: "(", param: "guided_regex" }), {
    code: "OPTION_INVALID",
    message: /^guided_regex: pattern/,
    details: { param: "guided_regex", pattern: "(" },
  });
});

test("bytes that are no UTF-8 never match, half characters do not end a text", () => {
  const any = gbnf("root ::= .*");
  for (const bytes of [[0xff], [0xc0, 0x80], [0xed, 0xa0, 0x80], [0xf4, 0x90, 0x80, 0x80], [0xe2, 0x28]]) {
    assert.equal(judge.of(any, Uint8Array.from(bytes)), "wrong");
  }
  const euro = Buffer.from("€");
  assert.equal(judge.of(any, euro.subarray(0, 2)), "prefix");
  assert.equal(judge.of(any, euro), "whole");
  assert.equal(judge.of(gbnf("root ::= [€₭]"), Uint8Array.of(0xe2, 0x82)), "prefix");
  assert.equal(judge.of(gbnf("root ::= [a-z]"), Uint8Array.of(0xe2)), "wrong");
});

test("what is thought is free; where it is under way it has to end, where it is not it need not begin", () => {
  const answer: Constraint = { kind: "choice", choices: ["yes", "no"] };
  const signs = { open: ["<think>"], close: ["</think>", "<tool>"] };
  const may: Constraint = { ...answer, thinking: { opened: false, ...signs } };
  check(
    may,
    ["yes", "<think>{ any < thing\n</think>\n\nno"],
    ["<think>", "<think>yes</think>"],
    ["x", "<think>x</think>yes!"],
  );
  const must: Constraint = { ...answer, thinking: { opened: true, ...signs } };
  check(must, ["hm</think>yes", "</think> no"], ["yes", "<think>"], ["</think>maybe"]);
  // A sign that is a control token may come as the token.
  const matcher = judge.matcher(must);
  assert.ok(
    matcher.acceptBytes(Buffer.from("hm")) && matcher.accept(toolToken) && matcher.acceptBytes(Buffer.from("no")),
  );
  assert.ok(matcher.done);
});

test("calls of tools: frames, arguments by schema, raw values, entries in any order, text around them", () => {
  const shape: Constraint = {
    kind: "shape",
    shape: {
      is: "sequence",
      of: [
        { is: "text", text: '<call>{"name": "f", "arguments": ' },
        {
          is: "json",
          schema: { $defs: { a: { type: "object", properties: { n: { type: "integer" } }, required: ["n"] } } },
          root: "#/$defs/a",
        },
        { is: "text", text: "}</call>" },
      ],
    },
  };
  const call = '<call>{"name": "f", "arguments": {"n": 3}}</call>';
  check(shape, [call], ["<call>"], [call.replace("3", '"3"'), `x${call}`]);
  const raw: Constraint = {
    kind: "shape",
    shape: {
      is: "repeat",
      min: 1,
      max: 2,
      separator: { is: "text", text: "\n" },
      of: {
        is: "entries",
        separator: { is: "text", text: "," },
        of: ["a", "b", "c"].map((key) => ({
          key,
          required: key === "a",
          shape: {
            is: "sequence",
            of: [
              { is: "text", text: `<${key}>` },
              { is: "string", until: ["</"] },
              { is: "text", text: "</>" },
            ],
          },
        })),
      },
    },
  };
  check(
    raw,
    ["<a>x</>", "<c>1</>,<a></>", "<a>{<</>,<b>y</>\n<a>z</>"],
    ["<b>x</>", "<a>x</>,"],
    ["<a>x</>,<a>y</>", "<a>x</>\n<a>x</>\n<a>x</>", "<d>"],
  );
  for (const [is, right, wrong] of [
    ["python", ["[1, 'it\\'s', True, {\"k\": None}]", "-2.5"], ["[1,,2]", "true"]],
    ["gemma", ['{k:<|"|>a "b"<|"|>,n:[2,true]}'], ["{k:a}"]],
  ] as const) {
    check({ kind: "shape", shape: { is, schema: {} } }, right, [], wrong);
  }
});
