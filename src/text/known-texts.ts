/**
 * Finds in a rendered prompt the longest beginning whose tokens are known: those that the model really evaluated, the
 * answers it wrote among them. Texts are told by hashes of their characters and of who wrote which: a user who types
 * what a template writes gets other tokens.
 */
import { createHash, type Hash } from "node:crypto";
import type { Segment } from "../chat/messages.js";

/** Bytes of a hash. */
export const hashBytes = 16;

/** Tells a place of texts whose tokens somebody else has, by length in ascending order. */
export interface KnownTexts {
  /** Characters of each. */
  readonly lengths: Int32Array;
  /** [texts * hashBytes] */
  readonly hashes: Uint8Array;
  /** Tokens of each. */
  readonly tokens: Int32Array;
}

/** Hashes of the beginnings of these lengths, which ascend; of those alone that the text has. */
export function hashesAt(segments: readonly Segment[], lengths: Iterable<number>): Buffer[] {
  const [characters, borders] = [createHash("sha256"), createHash("sha256")];
  const wanted = [...lengths];
  const found: Buffer[] = [];
  let at = 0;
  let user: boolean | undefined;
  const feed = (text: string, byUser: boolean): void => {
    if (text === "") return;
    if (user !== byUser) borders.update(`${at}${byUser ? "user" : "template"}`);
    user = byUser;
    // Lossless wherever a text is cut.
    characters.update(text, "utf16le");
    at += text.length;
  };
  for (const { text, user: byUser } of segments) {
    let from = 0;
    while (found.length < wanted.length && wanted[found.length]! <= at + text.length - from) {
      const to = from + wanted[found.length]! - at;
      feed(text.slice(from, to), byUser);
      from = to;
      found.push(digest(characters, borders));
    }
    feed(text.slice(from), byUser);
  }
  return found;
}

function digest(characters: Hash, borders: Hash): Buffer {
  const both = createHash("sha256").update(characters.copy().digest()).update(borders.copy().digest());
  return both.digest().subarray(0, hashBytes);
}

/** @returns which of the known texts is the longest beginning of this one */
export function longestKnown(segments: readonly Segment[], { lengths, hashes }: KnownTexts): number | undefined {
  const distinct = [...new Set(lengths)];
  const found = hashesAt(segments, distinct);
  for (let i = lengths.length - 1; i >= 0; i--) {
    const hash = found[distinct.indexOf(lengths[i]!)];
    if (hash?.equals(hashes.subarray(i * hashBytes, (i + 1) * hashBytes))) return i;
  }
  return undefined;
}

/** The parts behind so many characters. */
export function segmentsFrom(segments: readonly Segment[], length: number): Segment[] {
  const rest: Segment[] = [];
  let at = 0;
  for (const { text, user } of segments) {
    const from = Math.max(0, length - at);
    if (from < text.length) rest.push({ text: text.slice(from), user });
    at += text.length;
  }
  return rest;
}

/** Where the last of these marks begins that the template wrote before position `before`; -1: nowhere. */
export function lastMark(segments: readonly Segment[], marks: readonly string[], before: number): number {
  let end = segments.reduce((sum, { text }) => sum + text.length, 0);
  for (let i = segments.length - 1; i >= 0; i--) {
    const { text, user } = segments[i]!;
    const from = end - text.length;
    if (!user && from < before) {
      const written = text.slice(0, before - from);
      const at = Math.max(...marks.map((mark) => written.lastIndexOf(mark)));
      if (at >= 0) return from + at;
    }
    end = from;
  }
  return -1;
}
