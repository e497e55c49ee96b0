import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { PieceTable } from "./piece-table.js";
import { longestPiece, PieceTrie } from "./piece-trie.js";

function build(texts: readonly Uint8Array[], include: (id: number) => boolean = () => true): PieceTrie {
  const table = new PieceTable(texts.length, 16);
  for (const text of texts) table.append(text, 0, text.length);
  return new PieceTrie(table, texts.length, include);
}

/** Ids of the pieces that `text` begins with, shortest first. */
function prefixes(trie: PieceTrie, text: Uint8Array): number[] {
  const ids: number[] = [];
  for (let i = 0, node = trie.next(0, text[0]!); node !== 0; ) {
    if (trie.piece(node) >= 0) ids.push(trie.piece(node));
    node = ++i < text.length ? trie.next(node, text[i]!) : 0;
  }
  return ids;
}

test("finds what a search over all pieces finds; of equal pieces the last", () => {
  // Few bytes: long common beginnings; all bytes: nodes of many children.
  const byte = fc.oneof(fc.constantFrom(1, 2, 3), fc.integer({ min: 0, max: 255 }));
  const piece = fc.array(byte, { minLength: 1, maxLength: 6 }).map((bytes) => Uint8Array.from(bytes));
  fc.assert(
    fc.property(
      fc.array(piece, { maxLength: 400 }),
      fc.array(piece, { minLength: 1, maxLength: 20 }),
      (pieces, texts) => {
        const accepted = (id: number) => id % 7 !== 3;
        const trie = build(pieces, accepted);
        for (const text of [...texts, ...pieces]) {
          const expected = new Map<number, number>();
          pieces.forEach((p, id) => {
            if (accepted(id) && p.every((b, i) => text[i] === b)) expected.set(p.length, id);
          });
          const inOrder = [...expected].sort((a, b) => a[0] - b[0]).map(([, id]) => id);
          assert.deepEqual(prefixes(trie, text), inOrder);
        }
      },
    ),
    { numRuns: 60 },
  );
});

test("no pieces; a piece too long; too many bytes", () => {
  assert.deepEqual(prefixes(build([]), Uint8Array.of(1)), []);
  assert.throws(() => build([new Uint8Array(longestPiece + 1)]), { code: "TOKENIZER_INVALID", message: /token 0/ });
  const long = new Uint8Array(longestPiece);
  const table = new PieceTable(40_000, 0);
  for (let i = 0; i < 40_000; i++) table.append(long, 0, long.length);
  assert.throws(() => new PieceTrie(table, 40_000, () => true), {
    code: "TOKENIZER_INVALID",
    message: /bytes of text/,
  });
});
