/**
 * Makes test/golden/tokenizer-kinds.json with llama.cpp: node dist/test/support/make-kinds-golden.js. Tests never run
 * this.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { writeGguf } from "../../src/formats/index.js";
import { kindsGoldenPath, kindsTexts, kindsVocabularies } from "./kinds-golden.js";
import { peerTokenize, type TokenizeJob } from "./tokenizer-peer.js";

const folder = mkdtempSync(join(tmpdir(), "hundredweight-"));
const names = Object.keys(kindsVocabularies);
const jobs: TokenizeJob[] = [];
for (const [i, name] of names.entries()) {
  const path = join(folder, `${i}.gguf`);
  await writeGguf(path, { metadata: [...kindsVocabularies[name]!.entries], tensors: [] });
  jobs.push({ path, special: true, texts: kindsTexts(name) });
}
const results = peerTokenize(jobs);
if (results === undefined) throw new Error("the peer is not installed: node scripts/fetch-peer.mjs");
rmSync(folder, { recursive: true });
const provenance =
  "Ids by llama.cpp v0.5.0 (node-llama-cpp 3.22.1, vocab only, no added tokens) for the vocabularies and " +
  "texts of test/support/kinds-golden.ts.";
const lines = names.map((name, i) => `${JSON.stringify(name)}: ${JSON.stringify(results[i]!.ids)}`);
writeFileSync(kindsGoldenPath, `{"provenance": ${JSON.stringify(provenance)},\n"ids": {\n${lines.join(",\n")}\n}}\n`);
