/**
 * Markdown of a model, which may say anything, as HTML that does nothing: HTML in it is shown as text, links go to the
 * web only, pictures become links, and a sanitizer with a short list of elements sees everything last.
 */
import DOMPurify from "dompurify";
import { Marked, type Token, type Tokens } from "marked";
import { escapeHtml } from "./escape.js";
import { highlight } from "./highlight.js";
import { formulas } from "./math/extension.js";

function webAddress(href: string): string | undefined {
  try {
    const { protocol, href: whole } = new URL(href);
    return protocol === "https:" || protocol === "http:" || protocol === "mailto:" ? whole : undefined;
  } catch {
    return undefined; // relative addresses mean nothing here
  }
}

function link(href: string, inner: string): string {
  const address = webAddress(href);
  return address === undefined
    ? inner
    : `<a href="${escapeHtml(address)}" rel="noopener noreferrer" target="_blank">${inner}</a>`;
}

const marked = new Marked({
  gfm: true,
  // Poems and addresses: a line of a model is a line.
  breaks: true,
  renderer: {
    html: ({ text }) => escapeHtml(text),
    link(token) {
      return link(token.href, this.parser.parseInline(token.tokens));
    },
    // Nothing to click: a sign that is read out, too.
    checkbox: ({ checked }) => `<span class="task">${checked ? "☑" : "☐"}</span> `,
    // Fetching one would tell its server who reads this.
    image: ({ href, text }) => link(href, escapeHtml(text || href)),
    code({ text, lang }) {
      const language = /^[\w+#.-]*/.exec(lang ?? "")![0];
      const inner = highlight(text, language) ?? escapeHtml(text);
      return (
        `<div class="code"><div class="code-head"><span>${escapeHtml(language || "text")}</span>` +
        `<button type="button" class="code-copy">Copy</button></div>` +
        `<pre tabindex="0"><code>${inner}</code></pre></div>`
      );
    },
    table(token) {
      const cell = (c: Tokens.TableCell, tag: string) =>
        `<${tag}${c.align === null ? "" : ` align="${c.align}"`}>${this.parser.parseInline(c.tokens)}</${tag}>`;
      const row = (cells: readonly Tokens.TableCell[], tag: string) =>
        `<tr>${cells.map((c) => cell(c, tag)).join("")}</tr>`;
      return (
        `<div class="table" tabindex="0"><table><thead>${row(token.header, "th")}</thead>` +
        `<tbody>${token.rows.map((cells) => row(cells, "td")).join("")}</tbody></table></div>`
      );
    },
  },
});

marked.use(formulas);

const allowedTags = [
  ..."p br hr h1 h2 h3 h4 h5 h6 strong em del code pre blockquote ul ol li a".split(" "),
  ..."table thead tbody tr th td div span button".split(" "),
  ..."math mrow mi mn mo mtext mspace mfrac msqrt mroot msub msup msubsup munder mover munderover mtable mtr mtd".split(
    " ",
  ),
];
const attributes = [
  ..."rel target type tabindex align start".split(" "),
  ..."display form stretchy movablelimits accent linethickness width lspace rspace mathvariant".split(" "),
];
const purify = {
  ALLOWED_TAGS: allowedTags,
  ALLOWED_ATTR: ["href", "class", ...attributes],
  // Values of others are checked like addresses.
  ADD_URI_SAFE_ATTR: attributes,
  ALLOW_DATA_ATTR: false,
  ALLOW_ARIA_ATTR: false,
  ALLOWED_URI_REGEXP: /^(?:https?|mailto):/i,
  RETURN_TRUSTED_TYPE: true,
};

/** TrustedHTML where the browser knows that. */
export type Html = string | { toString(): string };

/** Blocks of `text` that are complete are the same strings again, so their elements can stay. */
export interface Block {
  readonly key: string;
  readonly html: Html;
}

/** Rendered blocks by their text. A conversation re-renders its last block only. */
const known = new Map<string, Html>();
const maxKnown = 2000;

export function blocksOf(text: string): Block[] {
  const tokens = marked.lexer(text);
  const { links } = tokens;
  return tokens
    .filter((token) => token.type !== "space" && token.type !== "def")
    .map((token, i) => ({ key: `${i} ${token.type}`, html: render(token, links) }));
}

function render(token: Token, links: Tokens.Tag | object): Html {
  const found = known.get(token.raw);
  // Links defined elsewhere in the text are not part of `raw`.
  const usesLinks = Object.keys(links).length > 0;
  if (found !== undefined && !usesLinks) return found;
  const dirty = marked.parser(Object.assign([token], { links }) as never);
  const html = DOMPurify.sanitize(dirty, purify) as Html;
  if (!usesLinks) {
    if (known.size >= maxKnown) known.delete(known.keys().next().value!);
    known.set(token.raw, html);
  }
  return html;
}
