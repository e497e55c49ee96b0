/** The vocabularies and texts of test/golden/tokenizer-kinds.json: made by dice, so only the ids are kept. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { packageRoot } from "../../src/package-root.js";
import { type RandomVocabulary, randomTexts, randomUnigram, randomWordPiece } from "./random-vocabulary.js";

export interface KindsGolden {
  readonly provenance: string;
  /** By vocabulary: ids of its texts, control tokens recognised. */
  readonly ids: Readonly<Record<string, readonly (readonly number[])[]>>;
}

export const kindsGoldenPath = join(packageRoot(), "test/golden/tokenizer-kinds.json");

export const kindsVocabularies: Readonly<Record<string, RandomVocabulary>> = {
  wordpiece: randomWordPiece(11),
  "wordpiece cased": randomWordPiece(12, { lowercase: false }),
  unigram: randomUnigram(13),
  "unigram with all spaces": randomUnigram(14, { merge: false }),
};

export const kindsTexts = (name: string): string[] => randomTexts(15, 150, kindsVocabularies[name]!.words);

export function readKindsGolden(): KindsGolden {
  return JSON.parse(readFileSync(kindsGoldenPath, "utf8")) as KindsGolden;
}
