import assert from "node:assert/strict";
import { test } from "node:test";
import { buildCharsmap } from "../../test/support/charsmap-builder.js";
import { replacements } from "../../test/support/random-vocabulary.js";
import { Charsmap } from "./charsmap.js";

function replaced(map: Charsmap, text: string): string | undefined {
  const bytes = Buffer.from(`x${text}y`);
  const length = map.match(bytes, 1);
  if (length === 0) return undefined;
  return `${length} ${Buffer.from(map.replacements.subarray(map.from, map.to)).toString()}`;
}

test("the longest key counts, every key is found, what is no key is not", () => {
  const map = new Charsmap(buildCharsmap(replacements));
  for (const [key, value] of replacements) assert.equal(replaced(map, key), `${Buffer.byteLength(key)} ${value}`);
  assert.equal(replaced(map, "e"), undefined);
  assert.equal(replaced(map, "\r"), undefined);
  assert.equal(replaced(map, "e\u0301\u0301\u0301"), "5 a");
  assert.equal(replaced(map, "\u0000"), undefined);
  assert.equal(map.match(Buffer.from("e\u0301").subarray(0, 2), 0), 0);
});

const invalid = { code: "TOKENIZER_INVALID", message: /precompiled_charsmap/ };

/** A map with these units (the first is the root's) and these replacements. */
function raw(units: readonly number[], texts = "a\0"): Uint8Array {
  const out = Buffer.alloc(4 + 4 * units.length);
  out.writeUInt32LE(4 * units.length);
  units.forEach((unit, i) => {
    out.writeUInt32LE(unit >>> 0, 4 + 4 * i);
  });
  return Buffer.concat([out, Buffer.from(texts)]);
}

test("damaged maps are refused", () => {
  const bad: Record<string, Uint8Array> = {
    "shorter than its size": Uint8Array.of(1, 2),
    "no replacements": raw([0], ""),
    "a size beyond the end": Uint8Array.of(255, 255, 255, 255, 0, 0),
    "a root outside": raw([5000 << 10, 0]),
    "a child's place outside": raw([0, (5000 << 10) | 1]),
    // Unit 1 is the child by byte 1 of place 0, and its own children have place 0 again.
    "a loop": raw([0, (1 << 10) | 1]),
    "a value outside": raw([2 << 10, 0, 0x80000000, (3 << 10) | 0x101, ...new Array(8).fill(0)], "a"),
    "a replacement without end": raw([2 << 10, 0, 0, (1 << 10) | 0x101, 0], "a"),
  };
  for (const [name, bytes] of Object.entries(bad)) assert.throws(() => new Charsmap(bytes), invalid, name);
  const long = new Map([["k", "v".repeat(129)]]);
  assert.throws(() => new Charsmap(buildCharsmap(long)), invalid, "a long replacement");
  assert.throws(() => new Charsmap(buildCharsmap(new Map([["k".repeat(130), "v"]]))), invalid, "a long key");
  assert.equal(new Charsmap(raw([0])).match(Uint8Array.of(1), 0), 0);
  assert.equal(new Charsmap(Uint8Array.of(0, 0, 0, 0, 0)).match(Uint8Array.of(1), 0), 0);
});

test("any damage of a sound map is an error with a code or a map that stays inside", () => {
  const sound = buildCharsmap(replacements);
  const text = Buffer.from(`${[...replacements.keys()].join("")}the e\u0301 \u{1d400}`);
  let refused = 0;
  // Each unit in use with one bit turned.
  const view = new DataView(sound.buffer, sound.byteOffset);
  for (let unit = 0; 4 * unit < view.getUint32(0, true); unit++) {
    if (view.getUint32(4 + 4 * unit, true) === 0) continue;
    for (let bit = 0; bit < 32; bit += 1 + (unit % 3)) {
      const damaged = Uint8Array.from(sound);
      damaged[4 + 4 * unit + (bit >> 3)]! ^= 1 << (bit & 7);
      try {
        const map = new Charsmap(damaged);
        for (let at = 0; at < text.length; at++) {
          const length = map.match(text, at);
          assert.ok(length >= 0 && at + length <= text.length);
          if (length > 0) assert.ok(map.to >= map.from && map.to < map.replacements.length);
        }
      } catch (error) {
        assert.equal((error as { code?: string }).code, "TOKENIZER_INVALID", String(error));
        refused++;
      }
    }
  }
  assert.ok(refused > 50, `${refused} refused`);
});
