/**
 * tokenizer.json of every kind, run as it stands: the ids are those of PyPI `tokenizers` on random texts. More texts,
 * and files of published models: `node dist/test/huggingface/compare-ids.js TOKENIZER.json IDS.jsonl`.
 */
import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { packageRoot } from "../../src/package-root.js";
import { folderTokenizer } from "./tokenizer-of.js";

const fixtures = join(packageRoot(), "test", "huggingface", "tokenizers");

interface Fixture {
  readonly tokenizer: unknown;
  readonly rows: readonly (readonly [text: string, ids: readonly number[]])[];
}

describe("tokenizer.json", () => {
  let folder = "";
  before(() => {
    folder = mkdtempSync(join(tmpdir(), "hundredweight-tokenizers-"));
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  for (const name of readdirSync(fixtures).sort())
    test(name.replace(".json", ""), () => {
      const { tokenizer: json, rows } = JSON.parse(readFileSync(join(fixtures, name), "utf8")) as Fixture;
      const path = join(folder, name);
      writeFileSync(path, JSON.stringify(json));
      const tokenizer = folderTokenizer(path);
      assert.ok(rows.length >= 100);
      for (const [text, ids] of rows)
        assert.deepEqual([...tokenizer.encode(text, { parseSpecial: true })], ids, JSON.stringify(text));
    });
});
