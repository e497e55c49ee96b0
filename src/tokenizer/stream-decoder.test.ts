import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { metadataOf, readTokenizerGolden, vocabularyEntries } from "../../test/support/tokenizer-golden.js";
import { createStreamDecoder, createTokenizer } from "./index.js";
import { incompleteTail } from "./stream-decoder.js";
import type { Tokenizer } from "./types.js";

const golden = readTokenizerGolden();
const spm = createTokenizer(metadataOf(vocabularyEntries(golden.vocabularies.spm)));
const whole = new TextDecoder("utf-8", { ignoreBOM: true });

/** Every id is a chunk of bytes. */
function chunkTokenizer(chunks: readonly Uint8Array[]): Tokenizer {
  return {
    addSpacePrefix: false,
    pieceBytes: (id: number) => chunks[id]!,
    tokenKind: () => "normal",
  } as unknown as Tokenizer;
}

test("any bytes in any split decode as the whole does, and at most 3 bytes are held", () => {
  // Bytes that begin, continue and break sequences, more often than random ones do.
  const byte = fc.oneof(
    fc.constantFrom(0x41, 0x80, 0xbf, 0xc2, 0xe0, 0xed, 0xef, 0xbb, 0xa0, 0x9f, 0xf0, 0x90, 0xf4, 0x8f, 0xff, 0xc0),
    fc.integer({ min: 0, max: 255 }),
  );
  fc.assert(
    fc.property(
      fc.array(
        fc.array(byte, { maxLength: 5 }).map((b) => Uint8Array.from(b)),
        { maxLength: 30 },
      ),
      (chunks) => {
        const decoder = createStreamDecoder(chunkTokenizer(chunks));
        let text = "";
        let bytes = new Uint8Array(0);
        chunks.forEach((chunk, id) => {
          text += decoder.push(id);
          bytes = Uint8Array.from([...bytes, ...chunk]);
          // What was given out is what is certain: the whole so far but an incomplete end.
          assert.equal(text, whole.decode(bytes.subarray(0, bytes.length - incompleteTail(bytes))));
          assert.ok(incompleteTail(bytes) <= 3);
        });
        assert.equal(text + decoder.flush(), whole.decode(bytes));
      },
    ),
    { numRuns: 500 },
  );
});

test("no code point is given out in halves", () => {
  const ids = spm.encode("x\u{1f642}\u4e16\ufeff", { addSpecial: false });
  const decoder = createStreamDecoder(spm);
  const parts = Array.from(ids, (id) => decoder.push(id));
  for (const part of parts) assert.ok(!/[\ufffd\p{Surrogate}]/u.test(part));
  assert.equal(parts.join("") + decoder.flush(), "x\u{1f642}\u4e16\ufeff");
});

test("SentencePiece's first space: taken away at the start only", () => {
  const ids = spm.encode("the cat", { addSpecial: true });
  assert.equal(spm.decode(ids), "the cat");
  assert.equal(spm.decode(ids, { special: true }), "<s>the cat");
  const continuing = createStreamDecoder(spm, { continues: true });
  assert.equal(
    Array.from(spm.encode("the cat", { addSpecial: false }), (id) => continuing.push(id)).join(""),
    " the cat",
  );
});

test("ids outside the vocabulary decode to nothing", () => {
  assert.equal(spm.decode([-1, 1e9, Number.NaN, 0.5]), "");
});
