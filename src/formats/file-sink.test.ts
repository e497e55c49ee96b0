import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { FileSink } from "./file-sink.js";

const folder = mkdtempSync(join(tmpdir(), "hundredweight-sink-"));
after(() => rmSync(folder, { recursive: true, force: true }));
const MiB = 2 ** 20;

const pattern = (length: number) => Uint8Array.from({ length }, (_, i) => (i * 31 + (i >> 12)) & 255);

for (const direct of [false, true])
  test(`${direct ? "direct" : "buffered"}: every byte arrives, whatever the sizes`, async () => {
    // Around the pieces (1 and 4 MiB) and the blocks of 4 KiB, with a piece still on its way at the end or not.
    for (const total of [0, 1, 4095, 4096, 4097, MiB, 4 * MiB - 1, 4 * MiB, 4 * MiB + 1, 9 * MiB + 12345]) {
      const path = join(folder, `${direct}-${total}`);
      const bytes = pattern(total);
      const sink = await FileSink.open(path, "wx", direct);
      const scratch = new Uint8Array(3 * MiB);
      for (let at = 0, step = 1; at < total; at += step, step = Math.min(3 * MiB, step * 7 + 1)) {
        const chunk = scratch.subarray(0, Math.min(step, total - at));
        chunk.set(bytes.subarray(at, at + chunk.length));
        await sink.write(chunk);
        chunk.fill(255); // taken over by then
      }
      await sink.end(true);
      await sink.close();
      assert.ok(readFileSync(path).equals(bytes), `${total} bytes`);
    }
  });

test("an existing file is kept with wx and replaced with w", async () => {
  const path = join(folder, "existing");
  for (const direct of [false, true]) {
    for (const text of ["long text", "short"]) {
      const sink = await FileSink.open(path, "w", direct);
      await sink.write(Buffer.from(text));
      await sink.end(false);
      await sink.close();
      assert.equal(readFileSync(path, "utf8"), text);
    }
    await assert.rejects(FileSink.open(path, "wx", direct), { code: "EEXIST" });
  }
});

test("a full disk is an error of a later call, and closing still works", {
  skip: process.platform !== "linux",
}, async () => {
  const sink = await FileSink.open("/dev/full", "w", false);
  const fill = async () => {
    for (let i = 0; i < 4; i++) await sink.write(new Uint8Array(MiB));
    await sink.end(false);
  };
  await assert.rejects(fill(), { code: "ENOSPC" });
  await sink.close();
});
