/**
 * PyTorch checkpoints: those that torch wrote (test/golden/pytorch.json) and those that are none; a model in them gives
 * the bits of its safetensors.
 */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { openCheckpoint } from "../../src/containers/index.js";
import { readPytorch } from "../../src/containers/pytorch/state-dict.js";
import { pytorchBytes } from "../../src/containers/pytorch/write.js";
import type { HundredweightError } from "../../src/errors.js";
import { packageRoot } from "../../src/package-root.js";
import { meanKl } from "../support/evaluate.js";
import { logitsOf } from "../support/logits-of.js";
import { type Entry, entriesOf, readFixture, writeFolder } from "./folder.js";

let folder = "";
before(() => {
  folder = mkdtempSync(join(tmpdir(), "hundredweight-pytorch-"));
});
after(() => rmSync(folder, { recursive: true, force: true }));

const golden = JSON.parse(readFileSync(join(packageRoot(), "test", "golden", "pytorch.json"), "utf8")) as {
  readonly files: Readonly<Record<string, string>>;
};

let number = 0;
function write(bytes: Uint8Array): string {
  const path = join(folder, `${++number}.bin`);
  writeFileSync(path, bytes);
  return path;
}
const goldenFile = (name: string): string => write(Buffer.from(golden.files[name]!, "base64"));

describe("what torch wrote", () => {
  test("views are ranges of the file, whichever way round they lie", () => {
    const path = goldenFile("views");
    const bytes = readFileSync(path);
    const found = new Map(readPytorch(path).tensors.map((tensor) => [tensor.name, tensor]));
    const shown = [...found].map(([name, { dtype, shape, turned }]) => [name, dtype, shape, turned ?? false]);
    assert.deepEqual(shown, [
      ["whole", "F32", [4, 6], false],
      ["tied", "F32", [4, 6], false],
      ["rows", "F32", [2, 6], false],
      ["turned", "F32", [4, 6], true],
      ["parameter", "F32", [2, 6], false],
      ["bf16", "BF16", [4, 6], false],
      ["fp8", "F8_E4M3", [2, 6], false],
      ["longs", "I64", [3], false],
      ["scalar", "F32", [], false],
      ["empty", "F32", [0, 5], false],
      ["line", "F32", [3], false],
    ]);
    const floats = (name: string) => {
      const { offset, bytes: size } = found.get(name)!;
      return Array.from({ length: size / 4 }, (_, i) => bytes.readFloatLE(offset + 4 * i));
    };
    const grid = Array.from({ length: 24 }, (_, i) => i);
    assert.deepEqual(floats("whole"), grid);
    assert.equal(found.get("tied")!.offset, found.get("whole")!.offset);
    assert.deepEqual(floats("rows"), grid.slice(6, 18));
    assert.deepEqual(floats("turned"), grid);
    assert.deepEqual(floats("parameter"), grid.slice(12));
    assert.deepEqual(floats("scalar"), [2.5]);
    assert.deepEqual(floats("line"), [2, 3, 4]);
  });

  test("the state_dict of a module, of a training's checkpoint, in another protocol", () => {
    const names = (name: string) => readPytorch(goldenFile(name)).tensors.map((tensor) => tensor.name);
    assert.deepEqual(names("module"), ["weight", "bias"]);
    assert.deepEqual(names("training"), ["a"]);
    assert.deepEqual(names("protocol 4"), ["a"]);
  });

  const refused: [string, RegExp, string][] = [
    ["gaps", /'gapped' \[4, 3\] is a view with strides 6, 2/, "FORMAT_UNSUPPORTED"],
    ["expanded", /'wide' \[3, 6\] is a view with strides 0, 1/, "FORMAT_UNSUPPORTED"],
    ["old", /before version 1\.6; write it again with torch\.save/, "FORMAT_UNSUPPORTED"],
    ["hostile", /wants 'posix\.system' of Python.*nothing was run/, "FORMAT_UNSUPPORTED"],
    ["whole module", /wants 'torch\.nn\.modules\.linear\.Linear'/, "FORMAT_UNSUPPORTED"],
    ["compressed", /'archive\/byteorder' is compressed.*'zip -0 -r'/, "FORMAT_UNSUPPORTED"],
    ["script", /a TorchScript program/, "FORMAT_UNSUPPORTED"],
  ];
  for (const [name, message, code] of refused)
    test(`refuses ${name}`, () => {
      assert.throws(() => readPytorch(goldenFile(name)), refusal(message, code));
    });
});

const refusal = (message: RegExp, code: string) => (error: HundredweightError) => {
  assert.match(error.message, message);
  assert.equal(error.code, code);
  return true;
};

describe("what a stranger might send", () => {
  const sound = Buffer.concat([
    ...pytorchBytes([{ name: "a", dtype: "F32", shape: [2], bytes: 8, data: () => [new Uint8Array(8)] }]),
  ]);
  /** The same archive with another pickle in its place, padded to the length that the old one had. */
  const withPickle = (pickle: string): Buffer => {
    const out = Buffer.from(sound);
    const at = out.indexOf("\x80\x02c", 0, "latin1");
    const length = out.indexOf("PK\x07\x08", at, "latin1") - at;
    out.fill(Buffer.from("N"), at, at + length);
    out.write(pickle, at, "latin1");
    return out;
  };
  const changed = (change: (bytes: Buffer) => void): Buffer => {
    const out = Buffer.from(sound);
    change(out);
    return out;
  };

  test("names are refused where they stand, whoever asks for them", () => {
    const names = [
      ["cos\nsystem\n", "os.system"],
      ["c__builtin__\neval\n", "__builtin__.eval"],
      ["cbuiltins\ngetattr\n", "builtins.getattr"],
      ["ctorch._utils\n_rebuild_tensor_v2.__globals__\n", "torch._utils._rebuild_tensor_v2.__globals__"],
      ["X\x05\0\0\0posixX\x06\0\0\0system\x93", "posix.system"],
      ["(isubprocess\nPopen\n", "subprocess.Popen"],
    ];
    for (const [pickle, name] of names)
      assert.throws(
        () => readPytorch(write(withPickle(`\x80\x02${pickle}`))),
        refusal(new RegExp(`wants '${name!.replaceAll(".", "\\.")}' of Python`), "FORMAT_UNSUPPORTED"),
      );
  });

  const bad: [string, () => Buffer, RegExp, string?][] = [
    ["a file cut short", () => sound.subarray(0, 300), /no directory: it is truncated/],
    ["a directory somewhere else", () => changed((b) => b.writeBigUInt64LE(5n, b.length - 50)), /no entry at byte 5/],
    [
      "a directory of 2^60 entries",
      () => changed((b) => b.writeBigUInt64LE(1n << 60n, b.length - 66)),
      /more than the/,
    ],
    ["an unknown operation", () => withPickle("\x80\x02\xff"), /the operation 0xff/],
    ["a stack of nothing", () => withPickle("\x80\x020."), /nothing to drop/],
    ["a memory of nothing", () => withPickle("\x80\x02h\x07."), /no value 7/],
    ["a text behind the end", () => withPickle("\x80\x02X\xff\xff\x0f\0"), /an end at byte/],
    ["a text of 4 GB", () => withPickle("\x80\x02X\xff\xff\xff\xff"), /a text of 4294967295 bytes/],
    ["no dictionary", () => withPickle("\x80\x02K\x01."), /holds no state_dict/, "FORMAT_UNSUPPORTED"],
    ["a call of a number", () => withPickle("\x80\x02K\x01)R."), /a call of what is no name/],
    [
      "a tensor of a number",
      () => withPickle("\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(K\x01K\x00))tR."),
      /has no storage/,
    ],
    ["nothing", () => Buffer.alloc(0), /no PyTorch checkpoint/, "FORMAT_UNKNOWN"],
  ];
  for (const [what, bytes, message, code = "FORMAT_INVALID"] of bad)
    test(`refuses ${what}`, () => {
      assert.throws(() => readPytorch(write(bytes())), refusal(message, code));
    });

  test("a tensor larger than its storage", () => {
    const at = sound.indexOf("tQJ\0\0\0\0(J\x02", 0, "latin1");
    assert.ok(at > 0);
    const grown = changed((b) => b.writeInt32LE(3, at + 9));
    assert.throws(
      () => readPytorch(write(grown)),
      refusal(/'a' \[3\] of F32 needs 12 bytes.*which has 8/, "FORMAT_INVALID"),
    );
  });
});

describe("a model", () => {
  const fixture = readFixture("llama");
  const source = ({ bytes, ...rest }: Entry) => ({ ...rest, bytes: bytes.length, data: () => [bytes] });
  const torchFile = (entries: readonly Entry[]) => Buffer.concat([...pytorchBytes(entries.map(source))]);

  const logits = (path: string): Promise<Float32Array[]> => logitsOf(path, fixture.ids);

  function torchFolder(name: string, files: Readonly<Record<string, Buffer>>): string {
    const at = join(folder, name);
    mkdirSync(at);
    writeFileSync(join(at, "config.json"), JSON.stringify(fixture.config));
    for (const [file, bytes] of Object.entries(files)) writeFileSync(join(at, file), bytes);
    return at;
  }

  test("in one file and in shards: the bits of the safetensors", async () => {
    const entries = entriesOf(fixture, "BF16");
    const expected = await logits(writeFolder(join(folder, "safetensors"), fixture, "BF16"));
    const whole = torchFolder("whole", { "pytorch_model.bin": torchFile(entries) });
    const named = torchFolder("named", { "model.pt": torchFile(entries), "training_args.bin": Buffer.alloc(3) });
    const shards = [entries.filter((_, i) => i % 2 === 0), entries.filter((_, i) => i % 2 === 1)];
    const map = Object.fromEntries(shards.flatMap((own, i) => own.map(({ name }) => [name, `part-${i}.bin`])));
    const sharded = torchFolder("sharded", {
      "pytorch_model.bin.index.json": Buffer.from(JSON.stringify({ weight_map: map })),
      "part-0.bin": torchFile(shards[0]!),
      "part-1.bin": torchFile(shards[1]!),
    });
    for (const path of [whole, join(whole, "pytorch_model.bin"), named, sharded, join(sharded, "part-1.bin")]) {
      assert.equal((await openCheckpoint(path)).format, "pytorch");
      assert.deepEqual(await logits(path), expected, path);
    }
  });

  test("with matrices that are saved transposed", async (t) => {
    // Each view of a matrix [rows, cols] whose bytes are [cols, rows]: strides 1, rows.
    const entries = entriesOf(fixture, "F32");
    const turned = entries.map((entry): Entry => (entry.name.endsWith("_proj.weight") ? transposed(entry) : entry));
    const bytes = torchFile(turned);
    for (const { name, shape } of turned.filter((entry) => entry.name.endsWith("_proj.weight")))
      asView(bytes, name, shape as [number, number]);
    const expected = await logits(writeFolder(join(folder, "upright"), fixture, "F32"));
    const got = await logits(torchFolder("turned", { "pytorch_model.bin": bytes }));
    const kl = meanKl(expected, got);
    t.diagnostic(`KL ${kl}`);
    // The same products, summed in the order of columns; a value near the middle of two of F16 may round otherwise.
    assert.ok(Math.abs(kl) < 1e-8, `KL ${kl}`);
  });

  test("a head that is a view of the embeddings is no second matrix", async () => {
    const wanted = ["model.embed_tokens.weight", "lm_head.weight"];
    const all = entriesOf(fixture, "F32");
    const [embeddings, head] = wanted.map((name) => all.find((entry) => entry.name === name)!);
    const bytes = torchFile([embeddings!, head!, ...all.filter(({ name }) => !wanted.includes(name))]);
    const key = bytes.indexOf("X\x01\0\0\x001", bytes.indexOf("lm_head.weight"), "latin1");
    bytes.write("0", key + 5);
    const path = torchFolder("tied", { "pytorch_model.bin": bytes });
    const { tensors } = await openCheckpoint(path);
    assert.ok(tensors.has("token_embd.weight") && !tensors.has("output.weight"));
    const apart = all.map((entry) => (entry === head ? { ...entry, bytes: embeddings!.bytes } : entry));
    assert.deepEqual(await logits(path), await logits(torchFolder("apart", { "pytorch_model.bin": torchFile(apart) })));
  });

  function transposed({ name, dtype, shape, bytes }: Entry): Entry {
    const [rows, cols] = shape as [number, number];
    const from = new Float32Array(bytes.buffer, bytes.byteOffset, rows * cols);
    const to = Float32Array.from({ length: rows * cols }, (_, i) => from[(i % rows) * cols + Math.floor(i / rows)]!);
    return { name, dtype, shape: [cols, rows], bytes: new Uint8Array(to.buffer) };
  }

  /** The pickle's [cols, rows] with strides rows, 1 becomes [rows, cols] with strides 1, rows. */
  function asView(file: Buffer, name: string, [cols, rows]: readonly [number, number]): void {
    const number = (value: number) => {
      const out = Buffer.from("J\0\0\0\0");
      out.writeInt32LE(value, 1);
      return out;
    };
    const pair = (a: number, b: number) => Buffer.concat([Buffer.from("("), number(a), number(b), Buffer.from("t")]);
    const before = Buffer.concat([pair(cols, rows), pair(rows, 1)]);
    const at = file.indexOf(before, file.indexOf(Buffer.from(name)));
    assert.ok(at > 0);
    Buffer.concat([pair(rows, cols), pair(1, rows)]).copy(file, at);
  }
});
