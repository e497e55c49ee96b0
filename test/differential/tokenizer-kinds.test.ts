/** WordPiece, Unigram, white-space BPE and merges by ids against llama.cpp, on vocabularies and texts made by dice. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { openCheckpoint } from "../../src/containers/index.js";
import { type TypedValue, writeGguf } from "../../src/formats/index.js";
import { createTokenizer, type Tokenizer } from "../../src/tokenizer/index.js";
import { preTokenizer, split } from "../../src/tokenizer/pretokenize.js";
import { codePoints, encodedLength } from "../../src/tokenizer/unicode.js";
import { peerInstalled } from "../support/peer.js";
import { byteVocabulary, rawVocabulary } from "../support/random-bpe.js";
import { type RandomVocabulary, randomTexts, randomUnigram, randomWordPiece } from "../support/random-vocabulary.js";
import { peerTokenize, type TokenizeResult } from "../support/tokenizer-peer.js";

const seed = Number(process.env.HUNDREDWEIGHT_SEED ?? 20_260_101);
/** Texts per vocabulary. 100000 was used for the record. */
const count = Number(process.env.HUNDREDWEIGHT_TEXTS ?? 1500);
const required = process.env.HUNDREDWEIGHT_REQUIRE_PEER === "1";
const skip =
  peerInstalled() || required
    ? false
    : "the peer is not installed (node scripts/fetch-peer.mjs): ids are NOT compared with llama.cpp";

describe("kinds of vocabularies made by dice: ids and texts equal llama.cpp's", { skip }, () => {
  let folder = "";
  before(() => {
    folder = mkdtempSync(join(tmpdir(), "hundredweight-"));
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  async function write(name: string, entries: ReadonlyMap<string, TypedValue>): Promise<string> {
    const path = join(folder, `${name}.gguf`);
    await writeGguf(path, { metadata: [...entries], tensors: [] });
    return path;
  }

  interface Comparison {
    readonly tokenizer: Tokenizer;
    readonly texts: readonly string[];
    readonly results: readonly TokenizeResult[];
  }

  async function compare(
    name: string,
    { entries, words }: RandomVocabulary,
    seen: (ids: readonly number[], tokenizer: Tokenizer) => number[] = (ids) => [...ids],
    keep: (text: string) => boolean = () => true,
  ): Promise<Comparison> {
    const path = await write(name, entries);
    const tokenizer = createTokenizer((await openCheckpoint(path)).metadata);
    const texts = randomTexts(seed, count, words).filter(keep);
    const specials = [false, true];
    const results = peerTokenize(specials.map((special) => ({ path, special, texts, detokenize: true })))!;
    specials.forEach((special, s) => {
      texts.forEach((text, i) => {
        const ids = [...tokenizer.encode(text, { addSpecial: false, parseSpecial: special })];
        assert.deepEqual(
          seen(ids, tokenizer),
          results[s]!.ids[i],
          `${name} special ${special} ${JSON.stringify(text)}`,
        );
      });
    });
    return { tokenizer, texts, results };
  }

  /** The whole vocabulary as llama.cpp writes it; `clean` is its tidying of spaces, which we leave out. */
  function compareTexts({ tokenizer, results }: Comparison, clean: (text: string) => string): void {
    const { ids, texts } = results[1]!;
    ids.forEach((list, i) => {
      const pieces = Buffer.concat(list.map((id) => tokenizer.pieceBytes(id, true))).toString("utf8");
      const plain = texts![i]!;
      const first = tokenizer.addSpacePrefix && pieces.startsWith(" ") ? pieces.slice(1) : pieces;
      assert.ok([clean(pieces), clean(first)].includes(plain), `${JSON.stringify(pieces)} ${JSON.stringify(plain)}`);
    });
  }

  for (const [name, options] of Object.entries({
    "word pieces": {},
    "word pieces, case kept": { lowercase: false },
    "word pieces, accents kept": { stripAccents: false },
    "word pieces, case kept, accents stripped": { lowercase: false, stripAccents: true },
  })) {
    test(name, async (t) => {
      const compared = await compare(name.replaceAll(/\W+/g, "-"), randomWordPiece(seed, options));
      compareTexts(compared, tidied);
      t.diagnostic(`${count} texts, twice; seed ${seed}; ${tally(compared)}`);
    });
  }

  for (const [name, options] of Object.entries({
    unigram: {},
    "unigram, spaces kept": { merge: false },
    "unigram, no space before, no charsmap": { merge: false, prefix: false, charsmap: false },
  })) {
    test(name, async (t) => {
      const compared = await compare(name.replaceAll(/\W+/g, "-"), randomUnigram(seed, options));
      compareTexts(compared, (text) => text);
      t.diagnostic(`${count} texts, twice; seed ${seed}; ${tally(compared)}`);
    });
  }

  test("unigram with byte tokens: what llama.cpp calls unknown is written in bytes", async () => {
    await compare("unigram-bytes", randomUnigram(seed, { byteTokens: true }), (ids, tokenizer) => {
      const out: number[] = [];
      let inBytes = false;
      for (const id of ids) {
        const isByte = tokenizer.tokenKind(id) === "byte";
        if (!(isByte && inBytes)) out.push(isByte ? tokenizer.special.unknown! : id);
        inBytes = isByte;
      }
      return out;
    });
  });

  for (const lowercase of [undefined, true, false]) {
    test(`words between white space, lower-cased: ${lowercase ?? "by default"}`, async () => {
      await compare(`white-space-${lowercase}`, rawVocabulary(seed, "whitespace", lowercase));
    });
  }

  test("pre-tokenizer whitespace of a gpt2 vocabulary", async () => {
    // llama.cpp ends the process when two neighbours of a piece are spaces.
    const apart = (text: string) => !/[\s\u0085] | [\s\u0085]/.test(text);
    await compare("white-space-gpt2", rawVocabulary(seed, "gpt2", undefined), undefined, apart);
  });

  test("kimi-k2 without merges: the ids are the ranks", async (t) => {
    // llama.cpp needs the merges: the reference gets those that follow from the ids.
    const { withMerges, withoutMerges } = byteVocabulary(seed);
    const path = await write("kimi-merges", withMerges.entries);
    const bare = await write("kimi-bare", withoutMerges.entries);
    const tokenizer = createTokenizer((await openCheckpoint(bare)).metadata);
    const texts = randomTexts(seed, count, withMerges.words);
    const [result] = peerTokenize([{ path, special: false, texts }])!;
    let merged = 0;
    let apart = 0;
    texts.forEach((text, i) => {
      const ids = [...tokenizer.encode(text, { addSpecial: false })];
      merged += ids.filter((id) => id >= 256).length;
      if (ids.join() === result!.ids[i]!.join()) return;
      // A merge has one pair of parts. A rank belongs to bytes: any two neighbours that make a token are merged, as the
      // tokenizer does that the family was trained with. Vocabularies made by dice show it in up to 1 % of the texts.
      apart++;
      assert.deepEqual(ids, byRanks(text, tokenizer), JSON.stringify(text));
    });
    assert.ok(apart < count / 50, `${apart} of ${count} texts`);
    t.diagnostic(`${count} texts; in ${apart} of them two parts that are no merge make a token; seed ${seed}`);
    assert.ok(merged > count, "texts are merged at all");
  });
});

/** Ids of a text: in each piece the two neighbours that make the token of lowest id are joined, again and again. */
function byRanks(text: string, tokenizer: Tokenizer): number[] {
  const ranks = new Map<string, number>();
  for (let id = tokenizer.size - 1; id >= 0; id--)
    ranks.set(Buffer.from(tokenizer.pieceBytes(id, true)).toString("latin1"), id);
  const utf8 = Buffer.from(text, "utf8");
  const points = codePoints(utf8);
  const out: number[] = [];
  let [at, from] = [0, 0];
  for (const end of split(preTokenizer("kimi-k2").stages, points)) {
    let to = from;
    for (; at < end; at++) to += encodedLength(points.points[at]!);
    const parts = [...utf8.toString("latin1", from, to)];
    from = to;
    for (;;) {
      let best = -1;
      let least = Number.POSITIVE_INFINITY;
      for (let i = 0; i + 1 < parts.length; i++) {
        const rank = ranks.get(parts[i]! + parts[i + 1]!) ?? Number.POSITIVE_INFINITY;
        if (rank < least) [best, least] = [i, rank];
      }
      if (best < 0) break;
      parts.splice(best, 2, parts[best]! + parts[best + 1]!);
    }
    out.push(...parts.map((part) => ranks.get(part)!));
  }
  return out;
}

/** How often each kind of token occurs: a vocabulary that is never hit would prove nothing. */
function tally({ tokenizer, results }: { tokenizer: Tokenizer; results: readonly TokenizeResult[] }): string {
  const counts: Record<string, number> = {};
  for (const { ids } of results) {
    for (const id of ids.flat()) counts[tokenizer.tokenKind(id)] = (counts[tokenizer.tokenKind(id)] ?? 0) + 1;
  }
  for (const kind of ["normal", "unknown", "control", "user"]) assert.ok(counts[kind]! > 0, `no ${kind} token`);
  return JSON.stringify(counts);
}

/** llama.cpp's tidying of spaces: before ?!., around a lone apostrophe, before 's 'm 're 've. */
function tidied(text: string): string {
  return text
    .replace(/ ([?!.,])/g, "$1")
    .replace(/ ' /g, "'")
    .replace(/ ('(?:s|m|re|ve))/g, "$1");
}
