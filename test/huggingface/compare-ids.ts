/**
 * Compares ids with those that scripts/fixtures/tokenizers.py wrote:
 *   node dist/test/huggingface/compare-ids.js TOKENIZER.json IDS.jsonl
 * or, given a fixture of test/huggingface/sentencepiece, scripts/fixtures/sentencepiece.py.
 */
import { createReadStream } from "node:fs";
import { createInterface } from "node:readline";
import { folderTokenizer, readSentencePieceFixture, sentencePieceTokenizer } from "./tokenizer-of.js";

const [path, ids] = process.argv.slice(2) as [string, string];
const started = Date.now();
const sentencePiece = /[\\/]sentencepiece[\\/]/.test(path);
const tokenizer = sentencePiece
  ? sentencePieceTokenizer(Buffer.from(readSentencePieceFixture(path).model, "base64"))
  : folderTokenizer(path);
const loadMs = Date.now() - started;
let [count, different, encodeMs] = [0, 0, 0];
for await (const line of createInterface({ input: createReadStream(ids, "utf8") })) {
  const { t, i } = JSON.parse(line) as { t: string; i: number[] };
  const begun = performance.now();
  const found = [...tokenizer.encode(t, { parseSpecial: !sentencePiece })];
  encodeMs += performance.now() - begun;
  count++;
  if (found.join() === i.join()) continue;
  if (different++ < 5) console.log(`${JSON.stringify(t)}\n  theirs ${i.join(" ")}\n  ours   ${found.join(" ")}`);
}
console.log(`${path}: ${count} texts, ${different} differ; load ${loadMs} ms, encoding ${Math.round(encodeMs)} ms`);
process.exitCode = different === 0 ? 0 : 1;
