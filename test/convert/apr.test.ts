/**
 * .apr files: the vector of the format's description byte by byte, there and back from GGUF, files as other programs
 * write them, and refusals.
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { crc32 } from "node:zlib";
import { readApr } from "../../src/containers/apr/header.js";
import { openCheckpoint } from "../../src/containers/index.js";
import { type AprTensor, aprFile } from "../../src/convert/apr-file.js";
import { convertModel } from "../../src/convert/index.js";
import { writeResumable } from "../../src/convert/resumable-file.js";
import { HundredweightError } from "../../src/errors.js";
import { makeTinyModel } from "../../src/synth/tiny.js";
import { entriesOf, readFixture, writeFolder } from "../huggingface/folder.js";
import { randomTokens } from "../support/evaluate.js";
import { logitsOf } from "../support/logits-of.js";
import { wholeSweeps } from "../support/sweeps.js";

const folder = mkdtempSync(join(tmpdir(), "hundredweight-apr-"));
after(() => rmSync(folder, { recursive: true, force: true }));

async function write(name: string, metadata: string, tensors: readonly AprTensor[]): Promise<string> {
  const path = join(folder, name);
  await writeResumable({ ...aprFile(path, metadata, tensors), identity: name });
  return path;
}

const nibbles = Buffer.from("10325476 98badcfe".repeat(2).replaceAll(" ", ""), "hex");
const vector: readonly AprTensor[] = [
  {
    name: "a.weight",
    type: 0,
    shape: [2, 2],
    bytes: 16,
    data: () => [new Uint8Array(Float32Array.of(1, 2, 3, 4).buffer)],
  },
  { name: "q.weight", type: 128, shape: [1, 32], bytes: 18, data: () => [Uint8Array.of(0, 0x38, ...nibbles)] },
];

test("the vector of the description: 388 bytes, the same hash", async () => {
  const path = await write("vector.apr", '{"model_type":"test","architecture":"llama"}', vector);
  const bytes = readFileSync(path);
  assert.equal(bytes.length, 388);
  assert.equal(
    createHash("sha256").update(bytes).digest("hex"),
    "14f8daa4f23bcdac7daa38df474342b136b244e5d982ba4d4aa4d15afb5eecbf",
  );
  const { metadata, tensors } = readApr(path);
  assert.deepEqual({ ...metadata }, { model_type: "test", architecture: "llama" });
  assert.deepEqual(
    [...tensors.values()].map(({ name, dtype, shape, offset, bytes: size }) => [name, dtype, shape, offset, size]),
    [
      ["a.weight", "F32", [2, 2], 256, 16],
      ["q.weight", "APR_Q4", [1, 32], 320, 18],
    ],
  );
});

for (const dtype of ["Q4_K", "Q6_K"])
  test(`${dtype}: from .apr to GGUF and back the same bytes, and the same logits from both`, async () => {
    const source = join(folder, `${dtype}.gguf`);
    const { vocab } = await makeTinyModel(source, "llama", { variant: "dense", dtype });
    const [first, second] = [join(folder, `${dtype}-1.apr`), join(folder, `${dtype}-2.apr`)];
    const between = join(folder, `${dtype}-between.gguf`);
    await convertModel(source, first);
    await convertModel(first, between);
    await convertModel(between, second);
    assert.ok(readFileSync(second).equals(readFileSync(first)));
    assert.equal(
      crc32(readFileSync(first).subarray(0, -4)),
      readFileSync(first).readUInt32LE(readFileSync(first).length - 4),
    );
    const ids = randomTokens(20, vocab);
    const expected = await logitsOf(source, ids);
    assert.deepEqual(await logitsOf(first, ids), expected);
    assert.deepEqual(await logitsOf(between, ids), expected);
    const [a, b] = [await openCheckpoint(source), await openCheckpoint(first)];
    assert.deepEqual(b.metadata.rawStrings("tokenizer.ggml.tokens"), a.metadata.rawStrings("tokenizer.ggml.tokens"));
  });

test("names of Hugging Face and keys of other programs: the logits of the folder", async () => {
  const fixture = readFixture("llama");
  const { num_attention_heads, num_key_value_heads, hidden_size, model_type, ...rest } = fixture.config;
  const metadata = {
    ...rest,
    architecture: model_type,
    hidden_dim: hidden_size,
    num_heads: num_attention_heads,
    num_kv_heads: num_key_value_heads,
    license: null,
  };
  const tensors = entriesOf(fixture).map(
    ({ name, shape, bytes }): AprTensor => ({ name, type: 0, shape, bytes: bytes.length, data: () => [bytes] }),
  );
  const path = await write("names.apr", JSON.stringify(metadata), tensors);
  const expected = await logitsOf(writeFolder(join(folder, "names"), fixture), fixture.ids);
  assert.deepEqual(await logitsOf(path, fixture.ids), expected);
});

test("what cannot be read is said with what to do", async () => {
  const bytes = readFileSync(await write("refused.apr", "{}", vector));
  const changed = (name: string, change: (bytes: Buffer) => void, sum = true): string => {
    const copy = Buffer.from(bytes);
    change(copy);
    if (sum) copy.writeUInt32LE(crc32(copy.subarray(44, 64), crc32(copy.subarray(0, 40))), 40);
    const path = join(folder, name);
    writeFileSync(path, copy);
    return path;
  };
  const flag = (value: number) => (copy: Buffer) => copy.writeUInt16LE(0x400 | value, 6);
  const cases: [path: string, code: string, message: RegExp][] = [
    [changed("lz4.apr", flag(1)), "FORMAT_UNSUPPORTED", /compressed.*without compression/],
    [changed("zstd.apr", flag(2)), "FORMAT_UNSUPPORTED", /compressed.*without compression/],
    [changed("secret.apr", flag(4)), "FORMAT_UNSUPPORTED", /decrypt/],
    [changed("columns.apr", flag(0x800)), "FORMAT_UNSUPPORTED", /row by row/],
    [changed("old.apr", (copy) => copy.set([1], 4)), "FORMAT_UNSUPPORTED", /version 1/],
    [changed("sum.apr", (copy) => copy.set([9], 9), false), "FORMAT_INVALID", /checksum/],
    [changed("long.apr", (copy) => copy.writeUInt32LE(1 << 30, 20)), "FORMAT_INVALID", /16 MiB/],
    [changed("ggml.apr", (copy) => copy.write("lmgg", 0, "latin1")), "FORMAT_UNSUPPORTED", /old 'ggml' file/],
  ];
  for (const [path, code, message] of cases) await assert.rejects(openCheckpoint(path), { code, message });
});

test("damaged files: an error, whatever is damaged", async () => {
  const source = join(folder, "damage.gguf");
  await makeTinyModel(source, "llama", { variant: "dense", dtype: "F32" });
  await convertModel(source, join(folder, "damage.apr"));
  const whole = readFileSync(join(folder, "damage.apr"));
  const start = Number(whole.readBigUInt64LE(32));
  const path = join(folder, "damaged.apr");
  let failed = 0;
  const count = wholeSweeps ? 3000 : 120;
  for (let n = 0; n < count; n++) {
    const at = (n * 7919) % start;
    const copy = Buffer.from(n % 4 === 0 ? whole.subarray(0, at) : whole);
    if (n % 4 === 1) copy[at] = copy[at]! ^ (1 << (n % 8));
    else if (n % 4 > 1) copy.fill(n % 4 === 2 ? 0xff : 0, at, at + 8);
    if (copy.length >= 64) copy.writeUInt32LE(crc32(copy.subarray(44, 64), crc32(copy.subarray(0, 40))), 40);
    writeFileSync(path, copy);
    try {
      await openCheckpoint(path);
    } catch (error) {
      assert.ok(error instanceof HundredweightError && error.code !== "INTERNAL", String(error));
      failed++;
    }
  }
  assert.ok(failed > count / 3, `${failed}`);
});
