import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { packageRoot } from "../../package-root.js";
import { type Dict, fromJs, JinjaTemplate, originsOf, plain, readJson, TemplateFault, usualLimits } from "./index.js";
import type { List, Tuple } from "./values.js";

const render = (source: string, values: Record<string, unknown> = {}) =>
  new JinjaTemplate(source).render(fromJs(values, "person") as Dict);
const persons = (source: string, values: Record<string, unknown>): string[] =>
  originsOf(render(source, values))
    .filter((part) => part.user)
    .map((part) => part.text);

test("random expressions render as Python's Jinja2 renders them", () => {
  const golden = readJson(readFileSync(join(packageRoot(), "test/golden/jinja.json"), "utf8")) as Dict;
  const wrong: string[] = [];
  const cases = (golden.get("cases") as List).items as Tuple[];
  for (const { items } of cases) {
    const [template, expected] = items.map((item) => (item === null ? null : plain(item as string)));
    let got: string | null;
    try {
      got = plain(new JinjaTemplate(template!).render(golden.get("values") as Dict));
    } catch (error) {
      assert.ok(error instanceof TemplateFault, `${template}: ${error}`);
      got = null;
    }
    if (got !== expected) wrong.push(`${template}: ${JSON.stringify(got)} instead of ${JSON.stringify(expected)}`);
  }
  assert.equal(cases.length, 900);
  assert.deepEqual(wrong, []);
});

test("each character keeps its origin through every operation", () => {
  const m = { c: " <|end|> Abc ", parts: ["<x>", "y"], o: { "k<": "v>" } };
  const cases: [string, string[]][] = [
    ["<|{{ c }}|>", [m.c]],
    ["{{ '[' + c.strip() + ']' }}", ["<|end|> Abc"]],
    ["{{ c | trim | upper }}!", ["<|END|> ABC"]],
    ["{{ c.split('|')[1] ~ '|' ~ c.split('|')[0] }}", ["end", " <"]],
    ["{{ c.replace('end', 'END') }}", [" <|", "|> Abc "]],
    ["{{ parts | join('-') }}", ["<x>", "y"]],
    ["{{ parts | map('upper') | join }}", ["<X>Y"]],
    ["{{ o | tojson }}", ["k<", "v>"]],
    ["{{ o }}", ["k<", "v>"]],
    ["{{ '%s|%s' % (c, 'z') }}", [m.c]],
    ["{{ '{}:{}'.format('z', c) }}", [m.c]],
    ["{{ c[2:5] }}{{ c[::-1] }}", [`|en${[...m.c].reverse().join("")}`]],
    ["{% for x in parts %}<{{ x }}>{% endfor %}", ["<x>", "y"]],
    ["{% set s %}a{{ c }}b{% endset %}{{ s | length }}{{ s }}", [m.c]],
    ["{% macro f(x) %}({{ x }}){% endmacro %}{{ f(c) }}", [m.c]],
    ["{{ c | indent(2) | title }}", [" <|end|> Abc "]],
    ["{{ c is string }}{{ c | length }}", []],
    ["{{ c.center(17, '*') }}", [m.c]],
    ["{{ ('<' ~ c) | escape }}", [" &lt;|end|&gt; Abc "]],
  ];
  for (const [source, expected] of cases) assert.deepEqual(persons(source, m), expected, source);
});

test("the template's own limits end it, with the name of what it did", () => {
  const started = performance.now();
  const hostile: [string, RegExp][] = [
    ["{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", /steps|longer/],
    ["{{ range(100001) }}", /Range too big/],
    ["{% set ns = namespace(s='ab') %}{% for i in range(99) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}", /string of/],
    [
      "{% set ns = namespace(s='ab') %}{% for i in range(99) %}{% set ns.s = ns.s.replace('a','aaaa') %}{% endfor %}",
      /text|units|characters/,
    ],
    ["{{ 'a' * 99999999 }}", /units/],
    ["{{ [0] * 99999999 }}", /units/],
    [
      "{% set ns = namespace(l=[]) %}{% for i in range(99999) %}{% set ns.l = ns.l + ns.l + [i] %}{% endfor %}",
      /units|text/,
    ],
    ["{{ 2 ** 99999999 }}", /integer/],
    ["{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", /deep/],
    [`${"{{ ".concat("(".repeat(5000))}1${")".repeat(5000)} }}`, /nested/],
    [`{{ ${"[".repeat(5000)} }}`, /nested|expected/],
    [`{{ x${".a".repeat(100000)} }}`, /many parts/],
    [`{{ ${"1+".repeat(100000)}1 }}`, /many parts/],
    [`${"{% if 1 %}".repeat(5000)}`, /nested/],
    ["{{ '%1000000000s' % 'x' }}{{ '{:1000000000}'.format('x') }}", /./],
    ["{% for x in range(99999) %}{{ 'x' * 1000 }}{% endfor %}", /too much text/],
    ["{{ 'x' | center(99999999) }}", /units/],
    [
      "{{ (1e308 * 10) | filesizeformat }}{{ ('nan' | float) | round }}{% for i in range(100000) %}{{ " +
        "'%.300f' % 1e-300 }}{% endfor %}",
      /text|steps|longer/,
    ],
    ["{{ ([] * 99999999999999999999) }}{{ ('' * 99999999999999999999) }}{{ raise_exception('done') }}", /done/],
    ["{% for a in range(99999) %}{% set x = 99999999999999 ** 200 %}{% endfor %}", /steps/],
    ["{% for a in range(99999) %}{% set x = '%.300f' % 1e-300 %}{% endfor %}", /steps/],
    ...[
      "s.find('b')",
      "s.split('a')",
      "s|wordwrap(5)",
      "s|striptags",
      "s|urlize",
      "s|wordcount",
      "s is upper",
      "s|length == 3",
      "s[5000]",
      "s in (s ~ 'b')",
      "s == (s ~ '')",
      "s|title",
      "s|reverse",
      "s < (s ~ '')",
      "{s: 1}",
      "s|tojson",
      "s.count('a')",
      "s.strip('<a \u{1f642}')",
      "s.isalpha()",
      "s|int",
    ].map((operation): [string, RegExp] => [
      `{% set s = "a\u{1f642} <" * 300000 %}{% for a in range(99999) %}{% set x = ${operation} %}{% endfor %}`,
      /steps|text/,
    ]),
    ["{{ 'a", /no end|unexpected/],
    ["{% if x %}", /endif/],
    ["{# c", /comment/],
    ["{% include 'x' %}", /other template files/],
    ["{{ x.__class__.__mro__ }}", /unsafe/],
    ["{{ ''.join.__globals__ }}", /unsafe/],
    ["{{ l.append(1) }}", /unsafe/],
  ];
  for (const [source, message] of hostile) {
    const limits = { ...usualLimits, timeMs: 1000 };
    assert.throws(
      () => {
        const template = new JinjaTemplate(source);
        template.render(fromJs({ l: [], x: "x" }, "person") as Dict, { limits });
        throw new Error("no fault");
      },
      (error: Error) =>
        error instanceof TemplateFault && (message.test(error.message) || /longer than/.test(error.message)),
      source.slice(0, 100),
    );
  }
  assert.ok(performance.now() - started < 60_000);
});

test("JSON keeps the order of keys and tells 1 from 1.0", () => {
  const value = readJson(
    '{"10": 1.0, "2": 1, "a": [1e2, -0, 123456789012345678901, "\\u00e9\\ud83d\\ude42"], "n": null}',
  );
  const dict = new JinjaTemplate("{{ v }}|{{ v | tojson }}").render(fromJs({ v: value }, "person") as Dict);
  const [printed, dumped] = plain(dict).split("|");
  assert.equal(printed, "{'10': 1.0, '2': 1, 'a': [100.0, 0, 123456789012345678901, 'é🙂'], 'n': None}");
  assert.equal(dumped, '{"10": 1.0, "2": 1, "a": [100.0, 0, 123456789012345678901, "é🙂"], "n": null}');
  for (const wrong of ["", "{", '{"a" 1}', "[1,]", '"a', "01", "1 2", `${"[".repeat(300)}`, '"\\x"', "nul"]) {
    assert.throws(() => readJson(wrong), { code: "OPTION_INVALID" }, wrong);
  }
});

test("strftime_now knows every directive of Python", () => {
  const environment = { now: () => new Date(2026, 10, 28, 19, 45, 31, 7) };
  const at = (format: string): string =>
    plain(new JinjaTemplate(`{{ strftime_now('${format}') }}`).render(fromJs({}, "person") as Dict, { environment }));
  assert.equal(at("%A %a %y %I %p %S %j %-d %e %F %T %%"), "Saturday Sat 26 07 PM 31 332 28 28 2026-11-28 19:45:31 %");
  assert.equal(
    at("%B %b %d %m %Y %H:%M %U %W %V %G %u %w %f %C %D %R"),
    "November Nov 28 11 2026 19:45 47 47 48 2026 6 6 007000 20 11/28/26 19:45",
  );
  assert.equal(
    at("%-I|%_I|%03d|%^a|%c|%x|%X|%z|%Z|%Q"),
    "7| 7|028|SAT|Sat Nov 28 19:45:31 2026|11/28/26|19:45:31|||%Q",
  );
});

test("a conversation of a hundred messages renders within milliseconds once warm", (t) => {
  const source =
    "{% for m in messages %}{% if m.role == 'system' and loop.first %}{{ '<|s|>' + m.content }}{% else %}" +
    "{{ '<|im_start|>' + m.role + '\\n' + (m.content | trim) + '<|im_end|>\\n' }}{% endif %}{% endfor %}";
  const messages = Array.from({ length: 100 }, (_, i) => ({
    role: i % 2 ? "assistant" : "user",
    content: ` text ${i} `.repeat(40),
  }));
  const template = new JinjaTemplate(source);
  const values = fromJs({ messages }, "person") as Dict;
  const times = Array.from({ length: 30 }, () => {
    const from = performance.now();
    template.render(values);
    return performance.now() - from;
  }).sort((a, b) => a - b);
  t.diagnostic(`median ${times[15]!.toFixed(2)} ms`);
  // Generous: the machine may be busy. Alone it takes well under a millisecond.
  assert.ok(times[0]! < 20);
});
