/** Headers and indices that are right, and those that strangers might send. */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { HundredweightError } from "../../errors.js";
import { readStoredFolder } from "../model-folder/model-folder.js";
import { modelFolderOf } from "../model-folder/named.js";
import { readSafetensors } from "./header.js";

let folder = "";
before(() => {
  folder = mkdtempSync(join(tmpdir(), "hundredweight-safetensors-"));
});
after(() => rmSync(folder, { recursive: true, force: true }));

function file(header: unknown, dataBytes: number, { length, pad = 0 }: { length?: bigint; pad?: number } = {}): Buffer {
  const text = Buffer.from((typeof header === "string" ? header : JSON.stringify(header)) + " ".repeat(pad));
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(length ?? BigInt(text.length));
  return Buffer.concat([prefix, text, Buffer.alloc(dataBytes, 7)]);
}

const readFolder = (path: string) => readStoredFolder({ folder: path });

let number = 0;
function write(bytes: Uint8Array): string {
  const path = join(folder, `${++number}.safetensors`);
  writeFileSync(path, bytes);
  return path;
}

const tensor = (shape: number[], from: number, to: number, dtype = "F32") => ({
  dtype,
  shape,
  data_offsets: [from, to],
});

describe("header", () => {
  test("tensors in the order of their bytes, with absolute offsets", () => {
    const header = {
      __metadata__: { format: "pt" },
      b: tensor([2, 3], 8, 32),
      a: tensor([2], 0, 8),
      s: tensor([], 32, 36),
    };
    const bytes = file(header, 36, { pad: 3 });
    const { tensors, metadata } = readSafetensors(write(bytes));
    const start = bytes.length - 36;
    assert.deepEqual(
      tensors.map(({ name, offset, bytes, shape }) => [name, offset - start, bytes, shape]),
      [
        ["a", 0, 8, [2]],
        ["b", 8, 24, [2, 3]],
        ["s", 32, 4, []],
      ],
    );
    assert.equal(metadata.get("format"), "pt");
  });

  test("tensors without bytes and packed types", () => {
    const header = { e: tensor([0, 5], 0, 0), q: tensor([3, 4], 0, 6, "F4"), f: tensor([5], 6, 11, "F8_E4M3") };
    assert.deepEqual(
      readSafetensors(write(file(header, 11))).tensors.map(({ name }) => name),
      ["e", "q", "f"],
    );
  });

  const bad: [string, Buffer, RegExp, string?][] = [
    ["a header longer than the file", file({}, 0, { length: 5000n }), /needs 5000 bytes/],
    ["a header of 2^63 bytes", file({}, 0, { length: 1n << 63n }), /more than the limit/],
    ["a header of 200 MB", file({}, 0, { length: 200_000_000n }), /more than the limit/],
    ["overlaps", file({ a: tensor([2], 0, 8), b: tensor([2], 4, 12) }, 12), /another tensor's too/],
    ["one place twice", file({ a: tensor([2], 0, 8), b: tensor([2], 0, 8) }, 8), /another tensor's too/],
    ["a hole", file({ a: tensor([2], 0, 8), b: tensor([2], 12, 20) }, 20), /belong to no tensor/],
    ["a beginning that is none", file({ a: tensor([2], 8, 16) }, 16), /belong to no tensor/],
    ["a file that ends early", file({ a: tensor([2], 0, 8) }, 4), /truncated/],
    ["bytes behind the last tensor", file({ a: tensor([2], 0, 8) }, 9), /behind the last tensor/],
    ["bytes that the shape does not have", file({ a: tensor([3], 0, 8) }, 8), /takes 12 bytes/],
    ["offsets the wrong way round", file({ a: tensor([2], 8, 0) }, 8), /takes 8 bytes/],
    ["a negative offset", file({ a: tensor([2], -8, 0) }, 8), /expected a whole number/],
    ["an offset that is no whole number", file({ a: tensor([2], 0.5, 8.5) }, 8), /expected a whole number/],
    ["a negative size", file({ a: tensor([-2], 0, 8) }, 8), /expected a whole number/],
    ["a shape beyond 2^53", file({ a: tensor([2 ** 40, 2 ** 40], 0, 8) }, 8), /is not whole bytes/],
    ["half a byte", file({ a: tensor([3], 0, 1, "F4") }, 1), /is not whole bytes/],
    ["nine dimensions", file({ a: tensor([1, 1, 1, 1, 1, 1, 1, 1, 2], 0, 8) }, 8), /more than 8/],
    ["three offsets", file({ a: { dtype: "F32", shape: [2], data_offsets: [0, 8, 8] } }, 8), /more than 2/],
    ["no type", file({ a: { shape: [2], data_offsets: [0, 8] } }, 8), /has no type/],
    ["an unknown type", file({ a: tensor([2], 0, 8, "Q9") }, 8), /type 'Q9'/, "FORMAT_UNSUPPORTED"],
    [
      "a name twice",
      file(`{"a": ${JSON.stringify(tensor([1], 0, 4))}, "a": ${JSON.stringify(tensor([1], 4, 8))}}`, 8),
      /'a' twice/,
    ],
    ["a long name", file({ ["n".repeat(2000)]: tensor([2], 0, 8) }, 8), /more than 1024 bytes/],
    ["something that is no object", file("[1]", 0), /not a safetensors file/, "FORMAT_UNKNOWN"],
    ["deep JSON", file(`{"a":${"[".repeat(5000)}`, 0), /expected an object/],
    ["deep JSON where nobody looks", file(`{"__metadata__":{"a":${"[".repeat(5000)}`, 0), /more than 64 levels/],
    ["half a header", file('{"a": {"dtype": "F32"', 0), /ends too early/],
    ["an empty file", Buffer.alloc(0), /an empty file/, "FORMAT_UNKNOWN"],
    ["a web page", Buffer.from(`<!doctype html><p>${"x".repeat(99)}`), /a web page/, "FORMAT_UNKNOWN"],
  ];
  for (const [what, bytes, message, code = "FORMAT_INVALID"] of bad)
    test(`refuses ${what}`, () => {
      assert.throws(
        () => readSafetensors(write(bytes)),
        (error: HundredweightError) => {
          assert.match(error.message, message);
          assert.equal(error.code, code);
          return true;
        },
      );
    });
});

describe("folder", () => {
  function shards(index: unknown, files: Record<string, Buffer>): string {
    const path = join(folder, `f${++number}`);
    mkdirSync(path);
    if (index !== undefined) writeFileSync(join(path, "model.safetensors.index.json"), JSON.stringify(index));
    for (const [name, bytes] of Object.entries(files)) writeFileSync(join(path, name), bytes);
    return path;
  }
  const one = (name: string) => file({ [name]: tensor([2], 0, 8) }, 8);

  test("shards by their index, a single file, a second copy beside it", () => {
    const map = { weight_map: { a: "x-1.safetensors", b: "x-2.safetensors" } };
    const sharded = readFolder(shards(map, { "x-1.safetensors": one("a"), "x-2.safetensors": one("b") }));
    assert.deepEqual([...sharded.tensors.keys()].sort(), ["a", "b"]);
    const copy = shards(undefined, { "model.safetensors": one("a"), "consolidated.safetensors": one("c") });
    assert.deepEqual([...readFolder(copy).tensors.keys()], ["a"]);
  });

  const bad: [string, unknown, Record<string, Buffer>, RegExp, string?][] = [
    ["a path upwards", { weight_map: { a: "../x.safetensors" } }, {}, /no plain name/],
    ["an absolute path", { weight_map: { a: "/etc/x.safetensors" } }, {}, /no plain name/],
    ["a path of Windows", { weight_map: { a: "..\\x.safetensors" } }, {}, /no plain name/],
    ["another kind of file", { weight_map: { a: "passwd" } }, {}, /no plain name/],
    ["a missing shard", { weight_map: { a: "x.safetensors" } }, {}, /is missing/, "FILE_NOT_FOUND"],
    [
      "a missing tensor",
      { weight_map: { a: "x.safetensors", b: "x.safetensors" } },
      { "x.safetensors": one("a") },
      /'b' is not in/,
    ],
    [
      "a tensor in another shard",
      { weight_map: { a: "x.safetensors", b: "y.safetensors" } },
      { "x.safetensors": one("b"), "y.safetensors": one("a") },
      /is not in/,
    ],
    [
      "a tensor in two shards",
      { weight_map: { a: "x.safetensors", b: "y.safetensors" } },
      { "x.safetensors": one("a"), "y.safetensors": file({ a: tensor([2], 0, 8), b: tensor([1], 8, 12) }, 12) },
      /'a' is in .* too/,
    ],
    ["an index of nothing", { metadata: {} }, {}, /no 'weight_map'/],
    ["a folder of nothing", undefined, {}, /no model in this folder/, "FILE_NOT_FOUND"],
    ["a PyTorch file of nothing", undefined, { "pytorch_model.bin": Buffer.alloc(1) }, /no PyTorch/, "FORMAT_UNKNOWN"],
    [
      "files that nothing joins",
      undefined,
      { "a.safetensors": one("a"), "b.safetensors": one("b") },
      /joins them/,
      "FILE_NOT_FOUND",
    ],
  ];
  for (const [what, index, files, message, code = "FORMAT_INVALID"] of bad)
    test(`refuses ${what}`, () => {
      const path = shards(index, files);
      assert.throws(
        () => readFolder(path),
        (error: HundredweightError) => {
          assert.match(error.message, message);
          assert.equal(error.code, code);
          return true;
        },
      );
    });

  test("links to blobs are followed, and any file of a folder names it", () => {
    const path = shards(undefined, { "config.json": Buffer.from("{}") });
    symlinkSync(write(one("a")), join(path, "model.safetensors"));
    assert.deepEqual([...readFolder(path).tensors.keys()], ["a"]);
    for (const name of ["", "/", "/config.json", "/model.safetensors"])
      assert.equal(modelFolderOf(path + name)?.folder.replace(/\/$/, ""), path);
    assert.equal(modelFolderOf(join(path, "other.gguf")), undefined);
  });
});
