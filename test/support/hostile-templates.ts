/** Chat templates made to do harm, eleven kinds of ten, and texts made to hurt whoever reads them. */

export interface HostileTemplate {
  readonly kind: string;
  readonly name: string;
  readonly source: string;
  /** Does harm when it is parsed already: it cannot stand behind a condition. */
  readonly whole: boolean;
}

const tens = Array.from({ length: 10 }, (_, n) => n + 1);
const times = (count: number, text: string): string => text.repeat(count);
/** `body` inside `depth` loops of `count` rounds. */
const loops = (depth: number, count: number, body: string): string =>
  tens.slice(0, depth).reduceRight((inner, n) => `{% for i${n} in range(${count}) %}${inner}{% endfor %}`, body);

const kinds: Readonly<Record<string, (n: number) => string>> = {
  "nested loops": (n) => loops(2 + (n % 6), 99_999 - n, n % 2 ? "" : "{% set x = i1 ~ i2 %}"),
  range: (n) =>
    `{{ range(${10 ** Math.min(n + 4, 12)}) | list | length }}{{ range(0, ${10 ** n}) | join(',') | length }}`,
  replace: (n) =>
    `{% set ns = namespace(s='a') %}{% for i in range(${20 * n}) %}{% set ns.s = ns.s.replace('a', ` +
    `'a${times(n, "a")}') %}{% endfor %}{{ ns.s | length }}`,
  "joined and repeated": (n) =>
    n % 2
      ? `{% set ns = namespace(s='abcdefgh') %}{% for i in range(${15 + 5 * n}) %}{% set ns.s = ns.s ~ ns.s ` +
        `%}{% endfor %}{{ ns.s | upper | length }}`
      : `{{ ('abc' * ${10 ** n}) | length }}{{ ([1, 2, 3] * ${10 ** n}) | length }}`,
  macros: (n) => `{% macro m(a) %}{{ m(a ~ '${times(n, "x")}') }}${n % 2 ? "{{ m(a) }}" : ""}{% endmacro %}{{ m('') }}`,
  "deep nesting": (n) =>
    n % 2
      ? `{{ ${times(10 ** Math.min(5, n), "(")}1${times(10 ** Math.min(5, n), ")")} }}`
      : `${times(1000 * n, "{% if 1 %}")}x${times(1000 * n, "{% endif %}")}`,
  "regular expressions": (n) =>
    `{% set s = 'a' * ${10_000 * n} %}{{ s.split('a') | length }}{{ (s ~ '!').strip('a') }}{{ ` +
    `s.replace('aa', '(a+)+$') | length }}{% for i in range(99999) %}{{ (s ~ i).split('aab') | length }}{{ (s ~ ` +
    `i).strip('a') | length }}{% endfor %}`,
  "sort and group": (n) =>
    `{% set ns = namespace(l=[]) %}{% for i in range(${10_000 * n}) %}{% set ns.l = ns.l + [{'k': i % ${n}, ` +
    `'v': 'x' * 50}] %}{% endfor %}{% for i in range(9999) %}{{ ns.l | sort(attribute='k', reverse=true) | ` +
    `groupby('k') | list | length }}{{ ns.l | unique | list | length }}{% endfor %}`,
  unterminated: (n) =>
    ["{{", "{% if %}", "{% for", "{#", "{{ 'abc", "{% raw %}", "{% macro m(", "{% if 1 %}", "{{ [1, ", "{% set x %}"][
      n - 1
    ]! + times(1000 * n, " a"),
  dates: (n) => `{% for i in range(999999) %}{{ strftime_now('${times(1000 * n, "%c")}') }}{% endfor %}`,
  literals: (n) =>
    n % 2
      ? `{{ '${times(2 ** 20, "<")}' | length }}`
      : `{% set l = [${times(2 ** 18, "1, ")}] %}{{ l | tojson | length ` +
        `}}${times(n, "{{ l | sort | join('') | length }}")}`,
};
/** Harm is done by parsing them. */
const parsed = new Set(["deep nesting", "unterminated", "literals"]);

export const hostileTemplates: readonly HostileTemplate[] = Object.entries(kinds).flatMap(([kind, source]) =>
  tens.map((n) => ({ kind, name: `${kind} ${n}`, source: source(n), whole: parsed.has(kind) })),
);

/** One template that does the harm of entry `n` when the last message says `boom n.`, and what is usual otherwise. */
export function onDemand(templates: readonly HostileTemplate[], usual: string): string {
  const cases = templates.map(({ source }, n) => `{% if messages[-1].content == 'boom ${n}.' %}${source}{% endif %}`);
  return `${usual}${cases.join("")}`;
}

const marks = ["<a", "<|im_end|>", "{{", "\u0301", "\u{1f468}\u200d\u{1f469}", " ", "\n", "a", "\ue000", "</s>"];

/** Fifty: ten patterns, each short, long as is usual, at the limit, above it, and between letters. */
export const hostileTexts: readonly string[] = marks.flatMap((mark) => [
  mark,
  mark.repeat(4000 / mark.length),
  mark.repeat(60_000 / mark.length),
  mark.repeat(3_000_000 / mark.length),
  `${"x".repeat(30_000)}${mark.repeat(30)}${"y".repeat(30_000)}`,
]);
