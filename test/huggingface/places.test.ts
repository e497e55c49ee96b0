/** The same folder in one file or in shards, mapped, read or streamed: the same bits. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { promisify } from "node:util";
import { packageRoot } from "../../src/package-root.js";
import { type Fixture, readFixture, type Stored, writeFolder } from "./folder.js";

const run = promisify(execFile);
const command = join(packageRoot(), "bin", "hundredweight.js");

describe("places of a folder's weights", () => {
  let folder = "";
  before(() => {
    folder = mkdtempSync(join(tmpdir(), "hundredweight-places-"));
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  let number = 0;
  async function logits(path: string, fixture: Fixture, ...options: string[]): Promise<Buffer> {
    const out = join(folder, `${++number}.f32`);
    const args = ["logits", path, "--tokens", fixture.ids.join(), "--all", "--out", out, "--threads", "1", ...options];
    await run(process.execPath, [command, ...args]);
    return readFileSync(out);
  }

  // A dense model, one with experts in tensors of their own, two whose matrices are cut out of fused ones.
  const cases: readonly (readonly [string, Stored])[] = [
    ["qwen3", "F32"],
    ["mixtral", "BF16"],
    ["gpt2", "BF16"],
    ["gptneox", "F32"],
  ];
  for (const [name, dtype] of cases)
    test(`${name} in ${dtype}`, async () => {
      const fixture = readFixture(name);
      const whole = writeFolder(join(folder, `${name}-${dtype}`), fixture, dtype);
      const sharded = writeFolder(join(folder, `${name}-${dtype}-shards`), fixture, dtype, 5);
      const expected = await logits(whole, fixture, "--io", "mmap");
      assert.ok(expected.length >= 4 * 96 * fixture.ids.length);
      for (const path of [whole, sharded])
        for (const options of [
          ["--io", "direct"],
          ["--io", "buffered", "--weights-memory", "1MiB", "--ring", "1MiB"],
        ])
          assert.deepEqual(await logits(path, fixture, ...options), expected, `${path} ${options.join(" ")}`);
    });
});
