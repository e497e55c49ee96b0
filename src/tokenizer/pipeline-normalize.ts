/** Normalizers of tokenizer.json: from text to text, before it is cut. */
import { Charsmap } from "./charsmap.js";
import { patternOf } from "./pipeline-regex.js";
import { flattened, type Step, unsupported } from "./pipeline-steps.js";

export type Normalizer = (text: string) => string;

const forms = ["NFC", "NFD", "NFKC", "NFKD"] as const;
/** As in the library, where one block begins too late. */
const ideograph = new RegExp(
  "[\\u4e00-\\u9fff\\u3400-\\u4dbf\\u{20000}-\\u{2a6df}\\u{2a700}-\\u{2b73f}\\u{2b740}-\\u{2b81f}" +
    "\\u{2b920}-\\u{2ceaf}\\uf900-\\ufaff\\u{2f800}-\\u{2fa1f}]",
  "gu",
);
/** Control characters but those that are white space. */
const nmtDropped = /(?![\t\n\f\r\x80-\x8e\x90-\x9e\0])\p{Cc}/gu;
const nmtSpaces = /[\t\n\f\r\u1680\u200b-\u200f\u2028\u2029\u2581\ufeff\ufffd]/g;

/** Each code point by itself: no rule of a language, no final sigma. */
const lowercase: Normalizer = (text) => Array.from(text, (char) => char.toLowerCase()).join("");

/** @throws TOKENIZER_UNSUPPORTED, TOKENIZER_INVALID */
export function normalizerOf(step: Step | null): Normalizer {
  const steps = flattened(step, "normalizers").map(single);
  return (text) => steps.reduce((known, next) => next(known), text);
}

function single(step: Step): Normalizer {
  const form = forms.find((name) => name === step.type);
  if (form !== undefined) return (text) => text.normalize(form);
  switch (step.type) {
    case "Lowercase":
      return lowercase;
    case "StripAccents":
      return (text) => text.replace(/\p{M}/gu, "");
    case "Strip": {
      const [left, right] = [step.strip_left !== false, step.strip_right !== false];
      const ends = new RegExp(
        [...(left ? ["^\\p{White_Space}+"] : []), ...(right ? ["\\p{White_Space}+$"] : [])].join("|"),
        "gu",
      );
      return (text) => (left || right ? text.replace(ends, "") : text);
    }
    case "Replace": {
      const [pattern, content] = [patternOf(step.pattern), String(step.content ?? "")];
      return (text) => text.replace(pattern, () => content);
    }
    case "Prepend": {
      const before = String(step.prepend ?? "");
      return (text) => (text === "" ? text : before + text);
    }
    case "Nmt":
      return (text) => text.replace(nmtDropped, "").replace(nmtSpaces, " ");
    case "BertNormalizer":
      return bert(step);
    case "Precompiled":
      return precompiled(step);
    default:
      throw unsupported("the normalizer", step.type);
  }
}

function bert(step: Step): Normalizer {
  const lower = step.lowercase !== false;
  const accents = typeof step.strip_accents === "boolean" ? step.strip_accents : lower;
  return (text) => {
    let known = text;
    if (step.clean_text !== false)
      known = known.replace(/[\0\ufffd]|(?![\t\n\r])[\p{Cc}\p{Cf}\p{Co}]/gu, "").replace(/\p{White_Space}/gu, " ");
    if (step.handle_chinese_chars !== false) known = known.replace(ideograph, " $& ");
    if (accents) known = known.normalize("NFD").replace(/\p{Mn}/gu, "");
    return lower ? lowercase(known) : known;
  };
}

/** Graphemes of less than six bytes are looked for whole, then every character. */
function precompiled(step: Step): Normalizer {
  const map = new Charsmap(Buffer.from(String(step.precompiled_charsmap ?? ""), "base64"));
  const segments = new Intl.Segmenter("en", { granularity: "grapheme" });
  const replaced = (text: string): string | undefined => {
    const bytes = Buffer.from(text);
    if (map.match(bytes, 0, "first") === 0) return undefined;
    return Buffer.from(map.replacements.subarray(map.from, map.to)).toString("utf8");
  };
  return (text) => {
    let out = "";
    for (const { segment } of segments.segment(text)) {
      const whole = Buffer.byteLength(segment) < 6 ? replaced(segment) : undefined;
      out += whole ?? Array.from(segment, (char) => replaced(char) ?? char).join("");
    }
    return out;
  };
}
