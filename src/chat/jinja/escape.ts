/** HTML escapes, as Python's markupsafe makes them. */
import { scan, walk } from "./limits.js";
import { asMarkup, isMarkup, mapPoints, plain, type Str } from "./text.js";

const entities: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  "'": "&#39;",
  '"': "&#34;",
};

/** Escaped text stays as it is. */
export function escapeStr(s: Str): Str {
  return isMarkup(s) ? s : forceEscape(s);
}

export function forceEscape(s: Str): Str {
  scan(plain(s).length);
  const escaped = /[&<>'"]/.test(plain(s)) ? mapPoints(s, (c) => entities[c] ?? c) : s;
  return asMarkup(escaped, true);
}

const names: Readonly<Record<string, string>> = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'", nbsp: "\u00a0" };

/** Removes comments and tags, joins white space, resolves the common entities. */
export function stripTags(text: string): string {
  walk(4 * text.length);
  let out = text;
  for (const [open, close] of [
    ["<!--", "-->"],
    ["<", ">"],
  ] as const) {
    const parts: string[] = [];
    let at = 0;
    for (let start = out.indexOf(open); start >= 0; start = out.indexOf(open, at)) {
      const end = out.indexOf(close, start);
      if (end < 0) break;
      parts.push(out.slice(at, start));
      at = end + close.length;
    }
    out = parts.join("") + out.slice(at);
  }
  const joined = out.split(/\s+/).filter(Boolean).join(" ");
  return joined.replace(/&(?:#x([0-9a-fA-F]{1,6})|#([0-9]{1,7})|([a-z]{1,8}));/g, (whole, hex, decimal, name) => {
    if (name !== undefined) return names[name as string] ?? whole;
    const code = hex !== undefined ? Number.parseInt(hex as string, 16) : Number(decimal);
    return code > 0x10ffff ? whole : String.fromCodePoint(code);
  });
}
