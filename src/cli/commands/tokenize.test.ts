import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { after, before, test } from "node:test";
import { metadataOf, readTokenizerGolden, vocabularyEntries } from "../../../test/support/tokenizer-golden.js";
import { writeGguf } from "../../formats/index.js";
import { createTokenizer } from "../../tokenizer/index.js";
import { main } from "../main.js";

const { bpe } = readTokenizerGolden().vocabularies;
const folder = mkdtempSync(join(tmpdir(), "hundredweight-tokenize-"));
const path = join(folder, "vocabulary.gguf");
before(async () => {
  const metadata = vocabularyEntries(bpe, "llama-bpe");
  metadata.set("general.architecture", { type: "string", value: "llama" });
  await writeGguf(path, { metadata, tensors: [] });
});
after(() => rmSync(folder, { recursive: true }));

/** Runs `tokenize` in this process; `input` stands in for standard input. */
async function run(args: readonly string[], input?: Uint8Array): Promise<{ code: number; out: string; err: string }> {
  const result = { code: 0, out: "", err: "" };
  const { stdout, stderr } = process;
  const [writeOut, writeErr] = [stdout.write, stderr.write];
  const stdin = Object.getOwnPropertyDescriptor(process, "stdin")!;
  stdout.write = ((data: string | Uint8Array, ...rest: unknown[]) => {
    // The test runner reports through stdout too, as buffers: those pass.
    if (typeof data !== "string") return writeOut.call(stdout, data, ...(rest as []));
    result.out += data;
    (rest.at(-1) as (() => void) | undefined)?.();
    return true;
  }) as typeof stdout.write;
  stderr.write = ((text: string) => {
    result.err += text;
    return true;
  }) as typeof stderr.write;
  if (input !== undefined)
    Object.defineProperty(process, "stdin", { value: Readable.from([input]), configurable: true });
  try {
    result.code = await main(["tokenize", ...args]);
  } finally {
    stdout.write = writeOut;
    stderr.write = writeErr;
    Object.defineProperty(process, "stdin", stdin);
  }
  return result;
}

const json = async (args: readonly string[], input?: Uint8Array) =>
  JSON.parse((await run([...args, "--json"], input)).out);

test("ids and pieces, with special tokens and without", async () => {
  const end = bpe.tokens.indexOf("<|end|>");
  const the = bpe.tokens.indexOf("the");
  assert.deepEqual(await json([path, "the<|end|>"]), {
    ids: [bpe.bos, the, end],
    pieces: ["<|begin|>", "the", "<|end|>"],
  });
  const plain = (await json([path, "the<|end|>", "--no-special"])) as { ids: number[]; pieces: string[] };
  assert.equal(plain.ids[0], the);
  assert.ok(!plain.ids.includes(end));
  assert.equal(plain.pieces.join(""), "the<|end|>");
  assert.match((await run([path, "the"])).out, new RegExp(`^ +${bpe.bos} .*\\n +${the}  "the"\\n$`));
});

test("standard input: exact text, invalid bytes replaced", async () => {
  const bytes = Buffer.from("a\u00e9\n\ufeff ");
  const { ids } = await json([path, "--stdin", "--no-special"], bytes);
  assert.deepEqual(await json([path, "--decode", ids.join(",")]), { text: "a\u00e9\n\ufeff " });
  const broken = await json([path, "--stdin", "--no-special"], Uint8Array.of(0x61, 0xff, 0x62));
  assert.deepEqual(await json([path, "--decode", broken.ids.join(",")]), { text: "a\ufffdb" });
  assert.deepEqual((await json([path, "--stdin", "--no-special"], new Uint8Array(0))).ids, []);
});

test("decoding shows control tokens unless --no-special", async () => {
  const ids = `${bpe.bos}, ${bpe.tokens.indexOf("the")}`;
  assert.deepEqual(await json([path, "--decode", ids]), { text: "<|begin|>the" });
  assert.deepEqual(await json([path, "--decode", ids, "--no-special"]), { text: "the" });
  for (const written of [ids.replace(", ", " "), `[${ids}]`, ` [ ${ids} ]\n`])
    assert.deepEqual(await json([path, "--decode", written]), { text: "<|begin|>the" });
});

test("wrong use ends with code 2 and one line", async () => {
  for (const args of [[path], [path, "a", "--stdin"], [path, "--decode", "x"], [path, "--decode", "1000000"], []]) {
    const { code, out, err } = await run(args);
    assert.equal(code, 2, args.join(" "));
    assert.equal(out, "");
    assert.match(err, /^error\[OPTION_INVALID\]: [^\n]+\n$/);
  }
  const missing = await run([join(folder, "none.gguf"), "x"]);
  assert.equal(missing.code, 1);
  assert.match(missing.err, /^error\[FILE_NOT_FOUND\]/);
});

test("a text of a megabyte comes in pieces, with the ids of the whole", async () => {
  const text = `${"the cat sat on the mat\n".repeat(40)}\u4e2d\u6587 1234  x`.repeat(1000);
  const metadata = vocabularyEntries(bpe, "llama-bpe");
  const tokenizer = createTokenizer(metadataOf(metadata));
  const whole = [...tokenizer.encode(text)];
  const json = await run(["--stdin", "--json", path], Buffer.from(text));
  assert.equal(json.code, 0, json.err);
  const { ids, pieces } = JSON.parse(json.out) as { ids: number[]; pieces: string[] };
  assert.ok(ids.length > 2 ** 17);
  assert.deepEqual(ids, whole);
  assert.deepEqual(
    pieces,
    whole.map((id) => tokenizer.piece(id)),
  );
  const lines = await run(["--stdin", path], Buffer.from(text));
  assert.deepEqual(
    lines.out
      .trimEnd()
      .split("\n")
      .map((line) => Number.parseInt(line, 10)),
    whole,
  );
  assert.equal(
    (await run(["--stdin", "--json", "--no-special", path], Buffer.alloc(0))).out,
    '{"ids":[],"pieces":[]}\n',
  );
});
