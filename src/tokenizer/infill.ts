/**
 * The tokens of a text with a gap, for models that were trained to fill one: repository name, other files, prefix,
 * suffix, middle, with what the filling begins with at the very end.
 */
import { HundredweightError } from "../errors.js";
import type { FimTokens, Tokenizer } from "./types.js";

export interface GapText {
  readonly prefix: string;
  readonly suffix: string;
  /** The beginning of the filling. */
  readonly begun?: string;
  /** Other files, those that matter most last. */
  readonly files?: readonly { readonly name: string; readonly text: string }[];
  /** The suffix comes before the prefix. */
  readonly suffixFirst?: boolean;
  /** Default: nothing is cut. */
  readonly cut?: {
    /** Tokens around the gap: three parts of four before it, one behind. */
    readonly around: number;
    /** Tokens of other files; the last are kept. */
    readonly files: number;
  };
}

/** Names as llama-server writes them where it knows none. */
const repositoryName = "myproject\n";
const ownName = "filename\n";
/** Between files, for models without a token for it. */
const snippet = "\n\n--- snippet ---\n\n";

/** @throws OPTION_INVALID when the model has no tokens for a gap */
export function encodeGap(tokenizer: Tokenizer, gap: GapText): Int32Array {
  const { fim, special, addBos } = tokenizer;
  const { prefix: before, suffix: behind, middle } = fim;
  if (before === undefined || behind === undefined || middle === undefined) {
    const missing = Object.entries({ prefix: before, suffix: behind, middle }).flatMap(([name, id]) =>
      id === undefined ? [name] : [],
    );
    throw new HundredweightError(
      "OPTION_INVALID",
      `this model cannot fill gaps: its vocabulary has no token for ${missing.join(", ")} (FIM)`,
    );
  }
  const ids = (text: string): number[] => [...tokenizer.encode(text, { addSpecial: false, parseSpecial: false })];
  const begun = ids(gap.begun ?? "");
  const around = gap.cut?.around ?? Number.POSITIVE_INFINITY;
  const quarter = Math.floor(around / 4);
  const prefix = last(ids(gap.prefix), 3 * quarter);
  const suffix = ids(gap.suffix).slice(0, Math.max(0, quarter - (2 + begun.length)));
  const parts = [
    [before, ...prefix],
    [behind, ...suffix],
  ];
  if (gap.suffixFirst === true) parts.reverse();
  const files = last(fileTokens(fim, gap.files ?? [], ids), gap.cut?.files ?? Number.POSITIVE_INFINITY);
  const start = addBos && special.bos !== undefined ? [special.bos] : [];
  return Int32Array.from([...start, ...files, ...parts.flat(), middle, ...begun]);
}

function fileTokens({ repository, file }: FimTokens, files: GapText["files"] & object, ids: (t: string) => number[]) {
  const named = (name: string): number[] => (file === undefined ? ids(snippet) : [file, ...ids(name)]);
  return [
    ...(repository === undefined ? [] : [repository, ...ids(repositoryName)]),
    ...files.flatMap(({ name, text }) => [...named(`${name}\n`), ...ids(text)]),
    ...(file === undefined ? [] : named(ownName)),
  ];
}

function last(ids: number[], count: number): number[] {
  return ids.length <= count ? ids : ids.slice(ids.length - Math.max(0, count));
}
