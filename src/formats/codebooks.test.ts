import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { codebookInclude, codebookIncludePath } from "../../test/support/codebook-include.js";
import { packageRoot } from "../package-root.js";
import { evenSigns, gridOf, nvfp4Scale } from "./codebooks.js";

/** SHA-256 of all entries of ggml's tables written as bytes, entry after entry. */
const hashes = {
  iq2xxs: "05826b5d3e472a3a78f196be62ac78acf81df0f909626e12ab9fa2a5d490dd54",
  iq2xs: "06e47aaca60b4dc1d9b5a3f34540437058a6b142b4d7a59d5ded769b4d1bf1de",
  iq2s: "e1aa1473412b0552c2174c30ef22ab4073f6a181b85a17056e8249bd2932fd88",
  iq3xxs: "46e35f5a997efdee6c99ce57854c8a0d4f0ff8ca57e5e8a60c0793ea580acf5d",
  iq3s: "bd1af4945a1717c65610b0284e4628b9a1ba3b306fae3a06f6e5f597356e349f",
  iq1: "07540ffc1aeaf6ad4d97e96b0fcc765aae39671d4ae4a27bbd0e796fde167c6a",
} as const;

for (const [name, hash] of Object.entries(hashes)) {
  test(`the code book ${name} is ggml's`, () => {
    const bytes = new Uint8Array(gridOf(name as keyof typeof hashes).buffer);
    assert.equal(createHash("sha256").update(bytes).digest("hex"), hash);
  });
}

test("the kernels have the same code books", () => {
  const text = readFileSync(join(packageRoot(), codebookIncludePath), "utf8");
  assert.equal(text, codebookInclude(), "node scripts/write-codebooks.mjs");
});

test("the eighth sign makes the number of minus signs even", () => {
  for (let seven = 0; seven < 128; seven++) {
    const signs = evenSigns(seven);
    assert.equal(signs & 127, seven);
    assert.equal([...signs.toString(2)].filter((bit) => bit === "1").length % 2, 0);
  }
});

test("NVFP4's scales are E4M3 without a sign, halved", () => {
  assert.deepEqual([0, 1, 7, 8, 0x38, 0x7e, 0x7f, 0xb8].map(nvfp4Scale), [
    0,
    2 ** -10,
    7 / 1024,
    1 / 128,
    0.5,
    224,
    0,
    0.5,
  ]);
});
