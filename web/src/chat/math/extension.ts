/** Formulas in markdown: $...$, \(...\), $$...$$ and \[...\]. */
import type { MarkedExtension, Tokens } from "marked";
import { escapeHtml } from "../escape.js";
import { mathml } from "./mathml.js";

/** No formula goes over an empty line: two signs far apart are not a pair. */
const inside = "((?:\\\\[\\s\\S]|(?!\\n[ \\t]*\\n)[^\\\\])+?)";
const block = new RegExp(`^ {0,3}(?:\\$\\$${inside}\\$\\$|\\\\\\[${inside}\\\\\\])[ \\t]*(?:\\n|$)`);
const displayed = new RegExp(`^(?:\\$\\$${inside}\\$\\$|\\\\\\[${inside}\\\\\\])`);
const inline = new RegExp(`^\\\\\\(${inside}\\\\\\)`);
/** Prices are no formulas: none begins with a blank, ends with one or is followed by a digit. */
const dollars = /^\$(?![\s$])((?:\\[\s\S]|[^$\\\n])+?)(?<!\s)\$(?!\d)/;

interface Found {
  readonly raw: string;
  readonly tex: string;
  readonly display: boolean;
}

function find(pattern: RegExp, source: string, display: boolean): Found | undefined {
  const match = pattern.exec(source);
  return match === null ? undefined : { raw: match[0], tex: match[1] ?? match[2]!, display };
}

function token(type: string, found: Found | undefined): (Tokens.Generic & { html: string }) | undefined {
  if (found === undefined) return undefined;
  const html = mathml(found.tex, found.display);
  // What stands between dollars and is no formula may be anything; the other signs mean nothing else.
  if (html === undefined && found.raw.startsWith("$") && !found.display) return undefined;
  return { type, raw: found.raw, html: html ?? `<code>${escapeHtml(found.raw.trim())}</code>` };
}

const renderer = ({ html }: Tokens.Generic): string => html;

export const formulas: MarkedExtension = {
  extensions: [
    {
      name: "formulaBlock",
      level: "block",
      start: (source) => {
        const at = /\n {0,3}(?:\$\$|\\\[)/.exec(source);
        return at === null ? undefined : at.index + 1;
      },
      tokenizer: (source) => token("formulaBlock", find(block, source, true)),
      renderer: (generic) => `<div class="formula" tabindex="0">${renderer(generic)}</div>`,
    },
    {
      name: "formula",
      level: "inline",
      start: (source) => {
        const at = source.search(/\$|\\[([]/);
        return at < 0 ? undefined : at;
      },
      tokenizer: (source) =>
        token("formula", find(displayed, source, true) ?? find(inline, source, false) ?? find(dollars, source, false)),
      renderer,
    },
  ],
};
