/** Pre-tokenizers of tokenizer.json: a text becomes the pieces that the model never joins. */
import { mapBytes } from "./byte-map.js";
import { patternOf, translated } from "./pipeline-regex.js";
import { flattened, type Step, unsupported } from "./pipeline-steps.js";

/** `start`: the text is the beginning of all of it. */
export type Cutter = (pieces: readonly string[], start: boolean) => string[];

const behaviors = ["Isolated", "Removed", "Contiguous", "MergedWithPrevious", "MergedWithNext"] as const;
type Behavior = (typeof behaviors)[number];

const gpt2 = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
/** Runs of word characters, or of neither those nor white space. */
const wordClass = "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\u200c\\u200d";
const words = new RegExp(`[${wordClass}]+|[^${wordClass}\\p{White_Space}]+`, "gu");
const punctuation = /[!-/:-@[-`{-~]|\p{P}/gu;

export interface Cutting {
  readonly cut: Cutter;
  /** Pieces are bytes in their alphabet: the last step says so and leaves the mapping to the model. */
  readonly bytes: boolean;
  /** A space is put before the text. */
  readonly prefix: boolean;
}

/** @throws TOKENIZER_UNSUPPORTED */
export function cuttingOf(step: Step | null): Cutting {
  const steps = flattened(step, "pretokenizers");
  const last = steps.length - 1;
  const cutters = steps.map((each, i) => single(each, i === last));
  return {
    cut: (pieces, start) => cutters.reduce<string[]>((known, next) => next(known, start), [...pieces]),
    bytes: steps.some(({ type }) => type === "ByteLevel"),
    prefix: steps.some((each) => each.type === "Metaspace" && schemeOf(each) !== "never"),
  };
}

function single(step: Step, isLast: boolean): Cutter {
  switch (step.type) {
    case "ByteLevel":
      return byteLevel(step, isLast);
    case "Split": {
      const behavior = behaviors.find((name) => name === step.behavior);
      if (behavior === undefined) throw unsupported("the behavior of a split", step.behavior);
      return splitter(patternOf(step.pattern), behavior, step.invert === true);
    }
    case "Digits":
      return splitter(/\p{N}/gu, step.individual_digits === true ? "Isolated" : "Contiguous");
    case "Punctuation":
      return splitter(punctuation, behaviors.find((name) => name === step.behavior) ?? "Isolated");
    case "Whitespace":
      return splitter(words, "Removed", true);
    case "WhitespaceSplit":
      return splitter(/\p{White_Space}/gu, "Removed");
    case "BertPreTokenizer": {
      const [spaced, marks] = [splitter(/\p{White_Space}/gu, "Removed"), splitter(punctuation, "Isolated")];
      return (pieces, start) => marks(spaced(pieces, start), start);
    }
    case "CharDelimiterSplit":
      return splitter(patternOf(step.delimiter), "Removed");
    case "Metaspace":
      return metaspace(step);
    default:
      throw unsupported("the pre-tokenizer", step.type);
  }
}

function byteLevel(step: Step, isLast: boolean): Cutter {
  const cut = step.use_regex === false ? undefined : splitter(translated(gpt2), "Isolated");
  return (pieces, start) => {
    const spaced =
      step.add_prefix_space === true
        ? pieces.map((piece) => (piece.startsWith(" ") ? piece : ` ${piece}`))
        : [...pieces];
    const found = cut === undefined ? spaced : cut(spaced, start);
    return isLast ? found : found.map((piece) => mapBytes(Buffer.from(piece)));
  };
}

/** Older files say whether, newer ones where. */
function schemeOf(step: Step): unknown {
  return step.prepend_scheme ?? (step.add_prefix_space === false ? "never" : "always");
}

function metaspace(step: Step): Cutter {
  const mark = String(step.replacement ?? "\u2581");
  const scheme = schemeOf(step);
  const cut = step.split === false ? undefined : splitter(patternOf(mark), "MergedWithNext");
  return (pieces, start) => {
    const marked = pieces.map((piece, i) => {
      const known = piece.replaceAll(" ", mark);
      const wanted = scheme === "always" || (scheme === "first" && start && i === 0);
      return wanted && !known.startsWith(mark) ? mark + known : known;
    });
    return cut === undefined ? marked : cut(marked, start);
  };
}

/** @param inverted what lies between matches counts as the match */
function splitter(pattern: RegExp, behavior: Behavior, inverted = false): Cutter {
  return (pieces) => {
    const out: string[] = [];
    for (const piece of pieces) cutPiece(piece, pattern, behavior, inverted, out);
    return out;
  };
}

function cutPiece(piece: string, pattern: RegExp, behavior: Behavior, inverted: boolean, out: string[]): void {
  const runs: [text: string, matched: boolean][] = [];
  let at = 0;
  for (const { index, 0: found } of piece.matchAll(pattern)) {
    if (index > at) runs.push([piece.slice(at, index), inverted]);
    if (found !== "") runs.push([found, !inverted]);
    at = Math.max(at, index + found.length);
  }
  if (at < piece.length) runs.push([piece.slice(at), inverted]);
  const first = out.length;
  const joins = (i: number): boolean => {
    const [before, own] = [runs[i - 1]?.[1], runs[i]![1]];
    if (before === undefined) return false;
    if (behavior === "Contiguous") return before === own;
    if (behavior === "MergedWithPrevious") return own && !before;
    return behavior === "MergedWithNext" && before && !own;
  };
  for (const [i, [text, matched]] of runs.entries()) {
    if (behavior === "Removed" && matched) continue;
    if (joins(i) && out.length > first) out[out.length - 1] += text;
    else out.push(text);
  }
}
