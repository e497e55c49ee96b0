import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import fc from "fast-check";
import { blocksBytes, dtypeByName, dtypeOf, dtypes } from "./dtypes.js";
import { openGguf } from "./gguf-open.js";
import { type GgufContent, type TensorSource, writeGguf } from "./gguf-write.js";
import { onlyExtent } from "./layouts.js";
import { type ElementType, PackedStrings, type TypedValue } from "./metadata.js";

const folder = mkdtempSync(join(tmpdir(), "hundredweight-write-"));
after(() => rmSync(folder, { recursive: true }));
const path = join(folder, "model.gguf");
const f32 = dtypeByName("F32")!;

const integer = (low: number, high: number) => fc.integer({ min: low, max: high });
const f32Value = fc.float({ noNaN: true });
const scalars: Readonly<Record<ElementType, fc.Arbitrary<unknown>>> = {
  u8: integer(0, 255),
  i8: integer(-128, 127),
  u16: integer(0, 65535),
  i16: integer(-32768, 32767),
  u32: integer(0, 2 ** 32 - 1),
  i32: integer(-(2 ** 31), 2 ** 31 - 1),
  f32: f32Value,
  f64: fc.double({ noNaN: true }),
  bool: fc.boolean(),
  string: fc.string({ unit: "grapheme", maxLength: 40 }),
  u64: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  i64: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
};
const arrays: Readonly<Record<ElementType, (values: never[]) => unknown>> = {
  u8: (v) => Uint8Array.from(v),
  i8: (v) => Int8Array.from(v),
  u16: (v) => Uint16Array.from(v),
  i16: (v) => Int16Array.from(v),
  u32: (v) => Uint32Array.from(v),
  i32: (v) => Int32Array.from(v),
  f32: (v) => Float32Array.from(v),
  f64: (v) => Float64Array.from(v),
  bool: (v) => v,
  string: (v) => v,
  u64: (v) => BigUint64Array.from(v),
  i64: (v) => BigInt64Array.from(v),
};
const elementTypes = Object.keys(scalars) as ElementType[];
const narrow = (v: unknown) => (typeof v === "bigint" && Number.isSafeInteger(Number(v)) ? Number(v) : v);

const typedValue: fc.Arbitrary<TypedValue> = fc.constantFrom(...elementTypes).chain((type) =>
  fc.oneof(
    scalars[type].map((value) => ({ type, value: narrow(value) }) as TypedValue),
    fc
      .array(scalars[type], { maxLength: 20 })
      .map((values) => ({ type: "array", element: type, value: arrays[type](values as never[]) }) as TypedValue),
  ),
);
const metadataOf = fc.uniqueArray(fc.tuple(fc.string({ unit: "grapheme", minLength: 1, maxLength: 30 }), typedValue), {
  selector: ([key]) => Buffer.from(key).toString(), // lone surrogates become equal in UTF-8
  maxLength: 12,
});
const tensorOf = fc
  .record({
    dtype: fc.constantFrom(...dtypes),
    blocks: integer(1, 3),
    rest: fc.array(integer(1, 3), { maxLength: 3 }),
    seed: fc.nat(),
    chunk: integer(1, 500),
  })
  .map(({ dtype, blocks, rest, seed, chunk }) => {
    const shape = [blocks * dtype.blockValues, ...rest];
    const bytes = new Uint8Array(rest.reduce((p, n) => p * n, blocksBytes(dtype, shape[0]!)!));
    for (let i = 0; i < bytes.length; i++) bytes[i] = Math.imul(i + seed, 2654435761) >>> 24;
    return { dtype, shape, bytes, chunk };
  });

function* pieces(bytes: Uint8Array, size: number): Iterable<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

test("what was written is read, and writing what was read gives the same bytes", async () => {
  await fc.assert(
    fc.asyncProperty(
      metadataOf,
      fc.array(tensorOf, { maxLength: 5 }),
      fc.constantFrom(undefined, 8, 64, 4096),
      async (metadata, made, alignment) => {
        const sources = made.map((t, i): TensorSource => {
          // The three ways a tensor may be given.
          const data = [t.bytes, () => pieces(t.bytes, t.chunk), asyncPieces(t.bytes, t.chunk)][i % 3]!;
          return { name: `tensor.${i}`, dtype: t.dtype, shape: t.shape, data };
        });
        const content: GgufContent = { metadata, tensors: sources, ...(alignment && { alignment }) };
        const written = await writeGguf(path, content);
        const file = readFileSync(path);
        assert.equal(written, file.length);

        const model = openGguf(path);
        const expected = new Map(metadata);
        if (alignment !== undefined) expected.set("general.alignment", { type: "u32", value: alignment });
        assert.deepEqual([...model.metadata.keys()], [...expected.keys()]);
        for (const [key, { type, value }] of expected) {
          assert.equal(model.metadata.typed(key)!.type, type);
          assert.deepEqual(model.metadata.get(key), value);
        }
        // llama.cpp's layout: each tensor begins where the one before ended, padded.
        const step = alignment ?? 32;
        let offset = model.shards[0]!.dataStart;
        assert.equal(offset % step, 0);
        for (const [i, t] of made.entries()) {
          const tensor = model.tensors.get(`tensor.${i}`)!;
          assert.equal(tensor.layout, t.dtype);
          assert.deepEqual(tensor.shape, t.shape);
          assert.equal(onlyExtent(tensor).offset, offset);
          assert.equal(Buffer.compare(file.subarray(offset, offset + onlyExtent(tensor).bytes), t.bytes), 0);
          offset += Math.ceil(t.bytes.length / step) * step;
        }
        assert.equal(offset, file.length);
        await writeGguf(path, rewritten(path));
        assert.equal(Buffer.compare(readFileSync(path), file), 0);
      },
    ),
    { numRuns: 60 },
  );
  assert.deepEqual(readdirSync(folder), ["model.gguf"]); // no temporary file is left
});

async function* asyncPieces(bytes: Uint8Array, size: number): AsyncIterable<Uint8Array> {
  for (const piece of pieces(bytes, size)) yield piece;
}

function rewritten(from: string): GgufContent {
  const model = openGguf(from);
  const file = readFileSync(from);
  const tensors = [...model.tensors.values()].map(({ name, layout, shape, planes }) => {
    const extent = onlyExtent({ name, planes });
    return { name, dtype: dtypeOf(layout)!, shape, data: file.subarray(extent.offset, extent.offset + extent.bytes) };
  });
  return { metadata: model.metadata.entries(), tensors };
}

const vectors = process.env.HUNDREDWEIGHT_VECTORS;
const skip = vectors === undefined ? "HUNDREDWEIGHT_VECTORS is not set: llama.cpp's files NOT rewritten" : false;
test("files written by llama.cpp come out byte for byte", { skip }, async () => {
  const models = join(vectors!, "models/stories260K");
  // The f32 file was made by another tool, the others by llama.cpp's quantizer.
  for (const name of readdirSync(models).filter((n) => n.endsWith(".gguf"))) {
    await writeGguf(path, rewritten(join(models, name)));
    assert.equal(Buffer.compare(readFileSync(path), readFileSync(join(models, name))), 0, name);
  }
});

test("strings that are no UTF-8 are written as they are", async () => {
  const words = PackedStrings.from([Uint8Array.of(0xff, 0xfe), "ok", new Uint8Array(0)]);
  await writeGguf(path, { metadata: [["t", { type: "array", element: "string", value: words }]], tensors: [] });
  assert.deepEqual(
    openGguf(path)
      .metadata.rawStrings("t")
      ?.map((b) => [...b]),
    [[0xff, 0xfe], [0x6f, 0x6b], []],
  );
});

const one = (change: Partial<TensorSource>): GgufContent => ({
  metadata: [],
  tensors: [{ name: "t", dtype: f32, shape: [4], data: new Uint8Array(16), ...change }],
});
const meta = (key: string, value: unknown): GgufContent => ({ metadata: [[key, value as TypedValue]], tensors: [] });
const refused: readonly [string, GgufContent][] = [
  ["u8 300", meta("k", { type: "u8", value: 300 })],
  ["i8 -129", meta("k", { type: "i8", value: -129 })],
  ["u32 1.5", meta("k", { type: "u32", value: 1.5 })],
  ["u32 NaN", meta("k", { type: "u32", value: Number.NaN })],
  ["u64 -1", meta("k", { type: "u64", value: -1 })],
  ["text as bool", meta("k", { type: "bool", value: "yes" })],
  ["a number as text", meta("k", { type: "string", value: 5 })],
  ["an array element out of range", meta("k", { type: "array", element: "u8", value: Int32Array.of(1, 256) })],
  ["an empty key", meta("", { type: "u8", value: 1 })],
  [
    "a key twice",
    {
      metadata: [...meta("k", { type: "u8", value: 1 }).metadata, ...meta("k", { type: "u8", value: 1 }).metadata],
      tensors: [],
    },
  ],
  ["alignment 48", { metadata: [], tensors: [], alignment: 48 }],
  ["a name of 64 bytes", one({ name: "n".repeat(64) })],
  ["5 dimensions", one({ shape: [4, 1, 1, 1, 1] })],
  ["a dimension of 0", one({ shape: [0] })],
  ["half a block", one({ dtype: dtypeByName("Q8_0")!, shape: [16] })],
  ["a tensor twice", { metadata: [], tensors: [...one({}).tensors, ...one({}).tensors] }],
];
for (const [what, content] of refused) {
  test(`refused: ${what}`, async () => {
    const target = join(folder, "refused.gguf");
    await assert.rejects(writeGguf(target, content), { code: "MODEL_INVALID", message: /refused\.gguf/ });
    assert.ok(!existsSync(target));
  });
}

test("a failing source leaves the old file and nothing else", async () => {
  const inner = join(folder, "inner");
  mkdirSync(inner);
  const target = join(inner, "old.gguf");
  writeFileSync(target, "old");
  const failing = [
    one({ data: new Uint8Array(15) }),
    one({ data: [new Uint8Array(10), new Uint8Array(10)] }),
    one({
      data: () => {
        throw new Error("source broke");
      },
    }),
  ];
  for (const content of failing) await assert.rejects(writeGguf(target, content), { code: "INTERNAL" });
  const signal = AbortSignal.abort();
  await assert.rejects(writeGguf(target, one({}), { signal }), { code: "CANCELLED" });
  assert.deepEqual(readdirSync(inner), ["old.gguf"]);
  assert.equal(readFileSync(target, "utf8"), "old");
  await assert.rejects(writeGguf(join(folder, "none/x.gguf"), one({})), { code: "FILE_IO" });
});

test("a full disk", {
  skip: existsSync("/dev/full") ? false : "no /dev/full here: a full disk NOT tested",
}, async () => {
  await assert.rejects(writeGguf("/dev/full", one({})), { code: "FILE_IO", message: /the disk is full/ });
  assert.ok(existsSync("/dev/full"));
});

test("a write that fails midway removes the part", { skip: process.platform === "win32" }, () => {
  // A file size limit of 64 blocks (of 512 or 1024 bytes) fails writes as a full disk does, on a real file system.
  const target = join(folder, "limited.gguf");
  const script = `
    const { writeGguf } = await import(${JSON.stringify(new URL("./gguf-write.js", import.meta.url).href)});
    const { dtypeByName } = await import(${JSON.stringify(new URL("./dtypes.js", import.meta.url).href)});
    const data = new Uint8Array(4 << 20);
    const tensors = [{ name: "t", dtype: dtypeByName("F32"), shape: [1 << 20], data }];
    await writeGguf(process.argv[1], { metadata: [], tensors }).catch((e) => console.log(e.code));`;
  const node = [
    process.execPath,
    ...process.execArgv.filter((a) => !a.startsWith("--test")),
    "--input-type=module",
    "-e",
  ];
  const run = spawnSync("sh", ["-c", 'ulimit -f 64; exec "$@"', "sh", ...node, script, target], { encoding: "utf8" });
  assert.equal(run.stdout.trim(), "FILE_IO", run.stderr);
  assert.deepEqual(
    readdirSync(folder).filter((n) => n.startsWith("limited")),
    [],
  );
});
