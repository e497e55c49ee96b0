/** Formulas in answers: what models write becomes MathML, and what is none stays as it was. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Marked } from "marked";
import { formulas } from "../../web/src/chat/math/extension.js";
import { mathml } from "../../web/src/chat/math/mathml.js";

const marked = new Marked(formulas);
const html = (text: string): string => (marked.parse(text) as string).trim();
/** Without the `math` around it. */
const inner = (tex: string, display = false): string | undefined =>
  mathml(tex, display)?.replace(/^<math[^>]*>|<\/math>$/g, "");

test("fractions, roots, scripts and numbers", () => {
  assert.equal(inner("\\frac{a}{b}"), "<mfrac><mi>a</mi><mi>b</mi></mfrac>");
  assert.equal(inner("\\frac12"), "<mfrac><mn>1</mn><mn>2</mn></mfrac>");
  assert.equal(inner("\\sqrt[3]{x}"), "<mroot><mi>x</mi><mn>3</mn></mroot>");
  assert.equal(inner("x_i^2"), "<msubsup><mi>x</mi><mi>i</mi><mrow><mn>2</mn></mrow></msubsup>");
  assert.equal(inner("x^23"), "<mrow><msup><mi>x</mi><mrow><mn>2</mn></mrow></msup><mn>3</mn></mrow>");
  assert.equal(inner("3.14"), "<mn>3.14</mn>");
  assert.equal(inner("1,2"), "<mrow><mn>1</mn><mo>,</mo><mn>2</mn></mrow>");
  assert.equal(inner("1,234.5"), "<mn>1,234.5</mn>");
  assert.match(inner("f'^2")!, /^<msup><mi>f<\/mi><mrow><mo>′<\/mo><mn>2<\/mn><\/mrow><\/msup>$/);
});

test("bounds stand below large operators and names of limits, beside integrals", () => {
  assert.match(inner("\\sum_{i=1}^n i", true)!, /^<mrow><munderover><mo movablelimits="true">∑<\/mo>/);
  assert.match(inner("\\int_0^1 x")!, /^<mrow><msubsup><mo>∫<\/mo>/);
  assert.match(inner("\\int\\limits_0^1 x")!, /^<mrow><munderover><mo>∫<\/mo>/);
  assert.match(inner("\\lim_{x\\to 0} x")!, /^<mrow><munder><mo [^>]*movablelimits="true">lim<\/mo>/);
  assert.match(inner("\\underbrace{a+b}_{n}")!, /^<munder><munder>.*⏟<\/mo><\/munder><mi>n<\/mi><\/munder>$/);
});

test("tables: matrices, cases, equations under each other, room between rows", () => {
  const two = inner("\\begin{pmatrix} 1 & 2 \\\\[2pt] 3 & 4 \\end{pmatrix}")!;
  assert.equal(two.match(/<mtr>/g)!.length, 2);
  assert.equal(two.match(/<mtd>/g)!.length, 4);
  assert.match(two, /^<mrow><mo stretchy="true">\(<\/mo><mtable>/);
  assert.match(inner("\\begin{cases} 1 & x > 0 \\\\ 0 & \\text{else} \\end{cases}")!, /class="cases".*<mtext>else</);
  assert.equal(inner("a &= b \\\\ c &= d")!.match(/<mtr>/g)!.length, 2);
});

test("letters of other alphabets, accents, fences, negations", () => {
  assert.equal(inner("\\mathbb{R}"), "<mi>ℝ</mi>");
  assert.equal(inner("\\mathbf{x}"), "<mi>𝐱</mi>");
  assert.equal(inner("\\mathcal L"), "<mi>ℒ</mi>");
  assert.match(inner("\\hat{y}")!, /^<mover accent="true"><mi>y<\/mi><mo stretchy="false">\^<\/mo><\/mover>$/);
  assert.match(inner("\\left\\{ x \\mid y \\right\\}")!, /^<mrow><mo stretchy="true">\{<\/mo>.*\}<\/mo><\/mrow>$/);
  assert.match(inner("\\left. x \\right|_0")!, /^<msub><mrow><mi>x<\/mi><mo stretchy="true">\|<\/mo><\/mrow>/);
  assert.equal(inner("a \\not= b"), "<mrow><mi>a</mi><mo>=&#x338;</mo><mi>b</mi></mrow>");
});

test("what is not understood, damaged, endless or deep is no formula", () => {
  const deep = `${"{".repeat(5000)}x${"}".repeat(5000)}`;
  for (const tex of [
    "\\href{javascript:1}{x}",
    "\\frac{a",
    "}",
    "{",
    "a^",
    "\\left( x",
    "\\begin{foo}\\end{foo}",
    "x_",
    deep,
  ])
    assert.equal(mathml(tex, false), undefined, tex.slice(0, 30));
  for (const tex of [
    "\\constructor",
    "\\begin{constructor}\\end{constructor}",
    "\\toString x",
    "#1",
    "x".repeat(10_001),
  ])
    assert.equal(mathml(tex, false), undefined, tex.slice(0, 30));
});

test("nothing in a formula becomes an element or an attribute", () => {
  for (const tex of [
    "<img src=x>",
    "\\text{<b>}",
    '\\mathrm{"><i>}',
    "\\operatorname{<s>}",
    "a<b",
    "\\left< x \\right>",
  ])
    assert.doesNotMatch(mathml(tex, false)!, /<(?!\/?m[a-z]+[ >])|="[^"]*<|<[^>]*"[^">=]*"[^>]*"[^>]*on/, tex);
});

test("all signs around formulas, in lines, lists and blocks of their own", () => {
  assert.match(html("so $x^2$ and \\(y\\)."), /^<p>so <math><msup>.*<\/math> and <math><mi>y<\/mi><\/math>\.<\/p>$/);
  for (const block of ["$$\nx\n$$", "\\[\nx\n\\]", "\\[x\\]"]) {
    assert.match(html(`before\n${block}\nafter`), /^<p>before<\/p>\s*<div class="formula"[^>]*><math display="block">/);
    assert.match(html(`- point\n  ${block.replaceAll("\n", "\n  ")}`), /<li>.*<math display="block">/s);
  }
  assert.match(html("$$\n\\unknown{x}\n$$"), /<code>\$\$\n\\unknown\{x\}\n\$\$<\/code>/);
});

test("prices, variables and code are none", () => {
  for (const text of ["between $5 and $10", "US$100 to US$200", "$5-$6", "from $HOME to $PATH", "a $ b $ c"])
    assert.doesNotMatch(html(text), /<math/, text);
  assert.match(html("`$x$`"), /<code>\$x\$<\/code>/);
  assert.doesNotMatch(html("```\n$$x$$\n```"), /<math/);
  assert.doesNotMatch(html("one $$ here\n\nand another $$ there"), /<math/);
});
