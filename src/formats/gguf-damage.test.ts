/** Damaged and hostile files: always a HundredweightError, soon, and without memory in proportion to a lie. */

import assert from "node:assert/strict";
import { closeSync, ftruncateSync, mkdtempSync, openSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import fc from "fast-check";
import { type Bytes, GgufBuilder } from "../../test/support/gguf-builder.js";
import { workMs } from "../../test/support/work.js";
import { HundredweightError } from "../errors.js";
import { limits } from "./cursor.js";
import { openGguf } from "./gguf-open.js";
import { readGgufFile } from "./gguf-read.js";

const folder = mkdtempSync(join(tmpdir(), "hundredweight-damage-"));
const path = join(folder, "model.gguf");
after(() => rmSync(folder, { recursive: true }));

/** Reads header and directory; an error must be ours and name the file. */
function failureOf(read: () => void): HundredweightError | undefined {
  try {
    read();
    return undefined;
  } catch (error) {
    assert.ok(error instanceof HundredweightError, `not ours: ${error}`);
    assert.ok(["FORMAT_UNKNOWN", "FORMAT_INVALID", "FORMAT_UNSUPPORTED"].includes(error.code), error.code);
    assert.ok(error.message.includes("model.gguf"));
    return error;
  }
}

/** Opens the file with windows of both extremes, which must agree, and reads all of its metadata. */
function attempt(): HundredweightError | undefined {
  const smallest = failureOf(() => readGgufFile(path, { windowBytes: 16 }));
  const usual = failureOf(() => {
    const { metadata } = openGguf(path);
    for (const key of metadata.keys()) metadata.get(key);
  });
  assert.equal(usual?.message, smallest?.message);
  return usual;
}

function sample(version: number): Uint8Array {
  const builder = new GgufBuilder(version);
  builder
    .key("general.architecture", 8, (b) => builder.string(b, "llama"))
    .key("general.alignment", 4, (b) => b.u32(32))
    .key("u8", 0, (b) => b.raw(1))
    .key("i16", 3, (b) => b.int(-2, 2))
    .key("f32", 6, (b) => b.float(0.5, 4))
    .key("flag", 7, (b) => b.raw(1))
    .key("words", 9, (b) => {
      builder.length(b.u32(8), 3);
      for (const word of ["a", "", "a longer word than the smallest window"]) builder.string(b, word);
    })
    .key("ids", 9, (b) => builder.length(b.u32(4), 5).raw(...new Array(20).fill(9)));
  if (version > 1) builder.key("u64", 10, (b) => b.u64(2n ** 63n)).key("f64", 12, (b) => b.float(1e300, 8));
  builder.tensor("first", [32, 2], 8, 0).tensor("second", [2, 1, 2, 1], 0, 96);
  builder.data = new Uint8Array(96 + 16).fill(7);
  return builder.build();
}

for (const version of [1, 3]) {
  const whole = sample(version);

  test(`version ${version}: cut at every byte`, () => {
    writeFileSync(path, whole);
    assert.equal(attempt(), undefined);
    const fd = openSync(path, "r+");
    try {
      for (let length = whole.length - 1; length >= 0; length--) {
        ftruncateSync(fd, length);
        assert.ok(attempt() !== undefined, `accepted ${length} of ${whole.length} bytes`);
      }
    } finally {
      closeSync(fd);
    }
  });

  test(`version ${version}: every byte changed in five ways`, () => {
    writeFileSync(path, whole);
    const fd = openSync(path, "r+");
    let refused = 0;
    try {
      for (let at = 0; at < whole.length; at++) {
        const byte = whole[at]!;
        for (const other of [0, 0xff, byte ^ 0x80, byte ^ 1, byte + 1]) {
          writeSync(fd, Uint8Array.of(other), 0, 1, at);
          if (attempt() !== undefined) refused++;
        }
        writeSync(fd, Uint8Array.of(byte), 0, 1, at);
      }
    } finally {
      closeSync(fd);
    }
    assert.ok(refused > whole.length); // names, values and weights may hold anything; lengths and types may not
  });
}

test("parts moved, doubled and overwritten", () => {
  const whole = sample(3);
  const place = fc.nat(whole.length);
  const piece = fc.oneof(fc.uint8Array({ maxLength: 24 }), fc.tuple(place, fc.nat(64)));
  const splice = fc.record({ at: place, remove: fc.nat(40), piece });
  fc.assert(
    fc.property(fc.array(splice, { minLength: 1, maxLength: 4 }), (splices) => {
      let bytes = [...whole];
      for (const { at, remove, piece } of splices) {
        const insert = piece instanceof Uint8Array ? piece : whole.subarray(piece[0], piece[0] + piece[1]);
        bytes = [...bytes.slice(0, at), ...insert, ...bytes.slice(at + remove)];
      }
      writeFileSync(path, Uint8Array.from(bytes));
      attempt();
    }),
    { numRuns: 500 },
  );
});

type Change = (b: GgufBuilder) => Uint8Array;
const value =
  (type: number, write: (into: Bytes) => unknown): Change =>
  (b) =>
    b.key("k", type, write).build();
const tensor =
  (dims: readonly (number | bigint)[], type = 0, offset: number | bigint = 0): Change =>
  (b) => {
    b.data = new Uint8Array(64);
    return b.tensor("weight", dims, type, offset).build();
  };

/** The damage, how it is made, and what the message must name. */
const hostile: readonly [string, Change, RegExp, string?][] = [
  ["2^64-1 tensors", (b) => b.build({ tensors: 2n ** 64n - 1n }), /tensor count .*18446744073709551615/],
  ["2^63 tensors", (b) => b.build({ tensors: 2n ** 63n }), /tensor count/],
  ["more tensors than bytes", (b) => b.build({ tensors: limits.tensors }), /tensor directory/],
  ["2^63 keys", (b) => b.build({ keys: 2n ** 63n }), /metadata count/],
  ["more keys than bytes", (b) => b.build({ keys: limits.metadataKeys }), /metadata/],
  ["string of 2^63", value(8, (b) => b.u64(2n ** 63n)), /'k'.*9223372036854775808/],
  ["string of 2^64-1", value(8, (b) => b.u64(2n ** 64n - 1n)), /'k'/],
  ["string of 60 MB in a small file", value(8, (b) => b.u64(60e6)), /'k' .*needs 60000000/],
  ["2^32-1 strings", value(9, (b) => b.u32(8).u64(2 ** 32 - 1)), /'k'/],
  ["10^8 strings", value(9, (b) => b.u32(8).u64(1e8)), /'k'/],
  ["10^9 bytes", value(9, (b) => b.u32(0).u64(1e9)), /'k'/],
  ["10^8 booleans", value(9, (b) => b.u32(7).u64(1e8)), /'k'/],
  ["2^61 doubles", value(9, (b) => b.u32(12).u64(2n ** 61n)), /'k'/],
  [
    "a string inside an array of 2^62",
    value(9, (b) =>
      b
        .u32(8)
        .u64(1)
        .u64(2n ** 62n),
    ),
    /'k'/,
  ],
  ["arrays of arrays", value(9, (b) => b.u32(9).u64(1).u32(4).u64(0)), /array of arrays/, "FORMAT_UNSUPPORTED"],
  ["value type 13", value(13, (b) => b.u32(0)), /13/],
  ["element type 99", value(9, (b) => b.u32(99).u64(0)), /99/],
  ["an empty key", (b) => b.key("", 0, (v) => v.raw(1)).build(), /empty/],
  ["a key of 70000 bytes", (b) => b.key("x".repeat(70000), 0, (v) => v.raw(1)).build(), /65535/],
  [
    "a key twice",
    (b) =>
      b
        .key("k", 0, (v) => v.raw(1))
        .key("k", 0, (v) => v.raw(1))
        .build(),
    /'k' appears twice/,
  ],
  ["alignment 0", (b) => b.key("general.alignment", 4, (v) => v.u32(0)).build(), /alignment is 0/],
  ["alignment 24", (b) => b.key("general.alignment", 4, (v) => v.u32(24)).build(), /power of two/],
  ["alignment 2^31", (b) => b.key("general.alignment", 4, (v) => v.u32(2 ** 31)).build(), /power of two/],
  ["alignment as text", (b) => b.key("general.alignment", 8, (v) => b.string(v, "32")).build(), /power of two/],
  ["a tensor twice", (b) => b.tensor("t", [1], 0, 0).tensor("t", [1], 0, 0).build(), /'t' appears twice/],
  ["a name of 64 bytes", (b) => b.tensor("n".repeat(64), [1], 0, 0).build(), /63/],
  ["5 dimensions", tensor([1, 1, 1, 1, 1]), /5 dimensions/],
  ["a dimension of 0", tensor([4, 0]), /dimension 1 .*is 0/],
  ["a dimension of 2^63", tensor([2n ** 63n]), /dimension 0/],
  // 2^16 each: the product is 2^64, which wraps to 0 in 64 bits.
  ["a product of 2^64", tensor([65536, 65536, 65536, 65536]), /'weight'.*ends at byte/],
  ["a product of 2^96 blocks", tensor([2n ** 32n, 2n ** 32n, 2n ** 32n], 8), /'weight'.*ends at byte/],
  ["type 4, removed", tensor([32], 4), /'weight' has type 4/, "FORMAT_UNSUPPORTED"],
  ["type 2^31", tensor([32], 2 ** 31), /'weight' has type 2147483648/, "FORMAT_UNSUPPORTED"],
  ["half a block", tensor([48], 8), /'weight' has rows of 48/],
  ["an unaligned offset", tensor([4], 0, 16), /multiple of the alignment/],
  ["an offset behind the file", tensor([4], 0, 64), /'weight'.*ends at byte/],
  ["an offset that wraps", tensor([16], 0, 2n ** 64n - 32n), /'weight'.*ends at byte/],
];
for (const [what, change, message, code] of hostile) {
  test(`hostile: ${what}`, () => {
    writeFileSync(path, change(new GgufBuilder()));
    const before = process.memoryUsage().arrayBuffers;
    const start = workMs();
    assert.throws(() => openGguf(path), { code: code ?? "FORMAT_INVALID", message });
    assert.ok(workMs() - start < 1000);
    // One window and what the file really holds.
    assert.ok(process.memoryUsage().arrayBuffers - before < 4 * limits.windowBytes);
  });
}

test("a huge sparse file cannot make the reader allocate beyond its limit", () => {
  const builder = new GgufBuilder();
  writeFileSync(path, builder.key("k", 9, (b) => b.u32(8).u64(limits.arrayElements)).build());
  const fd = openSync(path, "r+");
  ftruncateSync(fd, 2 ** 33);
  closeSync(fd);
  const start = workMs();
  assert.throws(() => openGguf(path), { code: "FORMAT_INVALID", message: /'k'.*more than metadata may hold/ });
  assert.ok(workMs() - start < 1000);
});
