/** Names of files of pasts, and the tokens that stand in them. */
import { pagePositions } from "../ops/ops.js";
import type { PastChain } from "./chain.js";

/**
 * A page that holds the positions in [from, to): whole, or begun. Pages behind the same past share the beginning of
 * their hash, so that one which differs only at its end can be found as well.
 */
export const pageName = (chain: PastChain, kind: number, from: number, to: number): string =>
  `p${to}-${kind}-${chain.block(from, to)}`;

/** The part behind `p` and the end, of all pages that begin at `from`. */
export const pagesFrom = (chain: PastChain, kind: number, from: number): string => `-${kind}-${chain.before(from)}`;

export const stateName = (chain: PastChain, position: number): string => `s${position}-0-${chain.at(position)}`;

/** Where the past ends whose file this is. */
export const endOf = (name: string): number => Number(/\d+/.exec(name)![0]);

/** Tokens as a header tells them. */
export function tokensOf({ tokens }: PastChain, from: number, to: number): string {
  const part = tokens.subarray(from, to);
  return Buffer.from(part.buffer, part.byteOffset, part.byteLength).toString("base64");
}

/** The tokens that a header tells; undefined where it tells none. */
export function toldTokens(told: unknown): Int32Array | undefined {
  if (typeof told !== "string") return undefined;
  const bytes = new Uint8Array(Buffer.from(told, "base64"));
  return bytes.length % 4 === 0 ? new Int32Array(bytes.buffer) : undefined;
}

/** Whether a file is of this past's first `length` tokens, not only of this name; a page may go on with others. */
export function sameTokens(told: unknown, chain: PastChain, name: string, length: number): boolean {
  const tokens = toldTokens(told);
  if (tokens === undefined) return false;
  const begun = length - (length % pagePositions);
  const from = name.startsWith("p") ? endOf(name) - tokens.length : begun;
  if (from < 0 || (name.startsWith("s") && from + tokens.length !== length)) return false;
  return tokens.subarray(0, length - from).every((token, i) => token === chain.tokens[from + i]);
}
