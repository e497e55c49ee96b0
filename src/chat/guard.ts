/**
 * Tells the template's text from the user's, so that a message saying "<|im_end|>" stays text.
 *
 * The conversation is rendered twice: as it is, and with every character that control tokens are made of (brackets,
 * bars ...) replaced, in all strings a user wrote, by a private-use character that occurs nowhere else. One character
 * stands for one, and white space, letters and quotes stay, so trimming, lengths and JSON are not disturbed. If the
 * second result with the characters put back equals the first, each of them is known to be the user's.
 *
 * Templates that look for a literal in a message (`'</think>' in content`) then differ. For them the literals they look
 * for are left alone, and what is left of such a message is found by its text. Should even that differ, the second
 * rendering is what the model gets: safe, and wrong only in what the template meant to cut out of the message.
 */
import type { Template } from "@huggingface/jinja";
import { HundredweightError } from "../errors.js";

export interface Segment {
  readonly text: string;
  /** Every character of a user's text that a control token can contain is in such a part. */
  readonly user: boolean;
}

/** Characters of control tokens; every known one has at least one of them. */
const risky = [
  ..."<>[]{}|\u2581\uff1c\uff1e\uff3b\uff3d\uff5b\uff5c\uff5d\u27e8\u27e9\u2329\u232a\u3008\u3009\u300a\u300b\u300c\u300d\u3010\u3011\u00ab\u00bb",
];
const riskyPattern = new RegExp(
  `[${risky.map((c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`).join("")}]`,
  "g",
);
const privateFirst = 0xe000;
const privateLast = 0xf8ff;

type Render = (values: Record<string, unknown>) => string;

export function guard(
  template: Template,
  values: Record<string, unknown>,
  render: Render,
): { text: string; segments: Segment[] } {
  const text = render(values);
  const strings: string[] = [];
  mapStrings(values, (s) => {
    strings.push(s);
    return s;
  });
  if (!strings.some((s) => s.search(riskyPattern) >= 0))
    return { text, segments: text === "" ? [] : [{ text, user: false }] };

  const cipher = new Cipher([...strings, text]);
  const attempt = (mask: (text: string) => string) => {
    const masked = render(mapStrings(values, mask) as Record<string, unknown>);
    const whole = strings.map((s) => mask(s).trim()).filter((s) => s.search(cipher.pattern) >= 0);
    return { text: cipher.unmask(masked), segments: segmentsOf(masked, cipher, whole) };
  };
  const masked = attempt((s) => cipher.mask(s));
  if (masked.text === text) return masked;
  const literals = inspectedLiterals(template).filter((l) => l.length > 1 && l.search(riskyPattern) >= 0);
  if (literals.length === 0) return masked;
  const partly = attempt((s) => cipher.maskExcept(s, literals));
  return partly.text === text ? partly : masked;
}

/** One private-use character for each risky one. */
class Cipher {
  readonly #base: number;
  readonly pattern: RegExp;

  /** Takes the first run of private-use characters that no text contains. */
  constructor(texts: readonly string[]) {
    const used = new Set<number>();
    for (const text of texts) {
      for (const [c] of text.matchAll(/[\ue000-\uf8ff]/g)) used.add(c.charCodeAt(0));
    }
    let base = privateFirst;
    for (let i = 0; i < risky.length; i++) {
      if (!used.has(base + i)) continue;
      base += i + 1;
      i = -1;
      if (base + risky.length > privateLast) {
        throw new HundredweightError(
          "TEMPLATE_INVALID",
          "the conversation uses up all private-use characters of Unicode",
        );
      }
    }
    this.#base = base;
    this.pattern = new RegExp(`[${String.fromCharCode(base)}-${String.fromCharCode(base + risky.length - 1)}]`, "g");
  }

  mask(text: string): string {
    return text.replace(riskyPattern, (c) => String.fromCharCode(this.#base + risky.indexOf(c)));
  }

  maskExcept(text: string, literals: readonly string[]): string {
    const escaped = literals.map((l) => l.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
    const parts = text.split(new RegExp(`(${escaped.join("|")})`));
    return parts.map((part, i) => (i % 2 === 1 ? part : this.mask(part))).join("");
  }

  unmask(text: string): string {
    return text.replace(this.pattern, (c) => risky[c.charCodeAt(0) - this.#base]!);
  }
}

/**
 * Masked characters are the user's, and so is each text of `whole` where it is found, in order (a text with a masked
 * character cannot be found in what the template wrote).
 */
function segmentsOf(masked: string, cipher: Cipher, whole: readonly string[]): Segment[] {
  const ranges: [number, number][] = [];
  for (const match of masked.matchAll(cipher.pattern)) ranges.push([match.index, match.index + 1]);
  let from = 0;
  for (const text of whole) {
    const at = text === "" ? -1 : masked.indexOf(text, from);
    if (at < 0) continue;
    from = at + text.length;
    ranges.push([at, from]);
  }
  ranges.sort((a, b) => a[0] - b[0]);
  const out: Segment[] = [];
  let at = 0;
  const put = (to: number, user: boolean) => {
    if (to > at) out.push({ text: cipher.unmask(masked.slice(at, to)), user });
    at = Math.max(at, to);
  };
  for (const [start, end] of ranges) {
    put(start, false);
    put(end, true);
  }
  put(masked.length, false);
  return out;
}

/** Copies a value with every string in it, keys too, replaced. Roles and part types are words: nothing changes in them. */
function mapStrings(value: unknown, replace: (text: string) => string): unknown {
  if (typeof value === "string") return replace(value);
  if (Array.isArray(value)) return value.map((item) => mapStrings(item, replace));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([k, v]) => [replace(k), mapStrings(v, replace)]));
}

const inspectingMethods = new Set(
  "split rsplit startswith endswith replace find rfind index count strip lstrip rstrip".split(" "),
);
const comparing = new Set(["==", "!=", "in", "not in"]);

interface AstNode {
  readonly type: string;
  readonly value?: unknown;
  readonly operator?: { readonly value: string };
  readonly callee?: { readonly type: string; readonly property?: { readonly value?: unknown } };
  readonly args?: readonly AstNode[];
}

/** String literals that the template compares with or looks for; not those it prints. */
function inspectedLiterals(template: Template): string[] {
  const found = new Set<string>();
  const walk = (node: unknown, inspected: boolean): void => {
    if (Array.isArray(node)) {
      for (const item of node) walk(item, inspected);
      return;
    }
    if (typeof node !== "object" || node === null) return;
    const { type, value, operator, callee, args } = node as AstNode;
    if (type === "StringLiteral" && inspected && typeof value === "string") found.add(value);
    const compares = type === "BinaryExpression" && comparing.has(operator?.value ?? "");
    const inspects =
      type === "CallExpression" &&
      callee?.type === "MemberExpression" &&
      inspectingMethods.has(String(callee.property?.value));
    if (inspects) {
      walk(callee, false);
      args?.forEach((arg, i) => {
        // The second argument of replace is printed.
        walk(arg, i === 0);
      });
      return;
    }
    for (const child of Object.values(node)) walk(child, compares);
  };
  walk(template.parsed, false);
  return [...found];
}
