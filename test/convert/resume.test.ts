/** A conversion that is killed goes on where it was, and its bytes are those of one that was not. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  createReadStream,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { convertModel } from "../../src/convert/index.js";
import { writeSynthFolder } from "../../src/synth/folder/write.js";
import { parseSpec } from "../../src/synth/presets.js";
import { layOutSynth, writeSynth } from "../../src/synth/synth.js";
import { wholeSweeps } from "../support/sweeps.js";

const child = fileURLToPath(new URL("kill-child.js", import.meta.url));
const kills = wholeSweeps ? 10 : 3;
const folderKills = wholeSweeps ? 10 : 2;

async function hashOf(path: string): Promise<string> {
  const hash = createHash("sha256");
  await pipeline(createReadStream(path), hash);
  return hash.digest("hex");
}

describe("resuming", () => {
  let folder = "";
  let source = "";
  let whole: Buffer;
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), "hundredweight-resume-"));
    source = join(folder, "source.gguf");
    const { name, shape } = parseSpec(
      "llama-1b,layers=4,dim=512,hidden=1024,heads=8,kv-heads=4,head-dim=64,vocab=4096",
    );
    await writeSynth(source, layOutSynth(name, shape, "BF16"), { seed: 7 });
    const out = join(folder, "whole.gguf");
    const { resumedBytes } = await convertModel(source, out, { type: "q8_0" });
    assert.equal(resumedBytes, 0);
    whole = readFileSync(out);
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  test(`killed ${kills} times: the bytes of a run that was not`, async () => {
    const out = join(folder, "killed.gguf");
    for (let kill = 1; kill <= kills; kill++) {
      const at = Math.floor((kill * whole.length) / (kills + 1));
      const { signal } = spawnSync(process.execPath, [child, source, out, "q8_0", String(at)]);
      assert.equal(signal, "SIGKILL");
      assert.ok(!existsSync(out));
    }
    // Twice as much as lies between two lines may be lost, and what a file's buffer holds.
    const done = await convertModel(source, out, { type: "q8_0" });
    assert.ok(done.resumedBytes > whole.length / 2, `${done.resumedBytes} of ${whole.length}`);
    assert.ok(readFileSync(out).equals(whole));
    assert.deepEqual([`${out}.partial`, `${out}.journal`].filter(existsSync), []);
  });

  test(`a quantized folder as safetensors, killed ${folderKills} times: the same bytes, in little memory`, async () => {
    // Its matrices lie in the order of inputs: each is in memory whole while its turn lasts.
    const shapeOf = wholeSweeps
      ? "llama-1b"
      : "llama-1b,layers=1,dim=256,hidden=1024,heads=4,kv-heads=4,head-dim=64,vocab=2048";
    const { name, shape } = parseSpec(shapeOf);
    const quantized = join(folder, "gptq");
    await writeSynthFolder(quantized, layOutSynth(name, shape), "gptq");
    const [wanted, out] = [join(folder, "wanted", "model.safetensors"), join(folder, "out", "model.safetensors")];
    const run = (to: string, killAt: number) =>
      spawnSync(process.execPath, [child, quantized, to, "f32", String(killAt)], { encoding: "utf8" });
    const { status, stdout, stderr } = run(wanted, Number.POSITIVE_INFINITY);
    assert.equal(status, 0, stderr);
    const size = statSync(wanted).size;
    for (let kill = 1; kill <= folderKills; kill++) {
      assert.equal(run(out, Math.floor((kill * size) / (folderKills + 1))).signal, "SIGKILL");
      assert.ok(!existsSync(out));
    }
    const last = run(out, Number.POSITIVE_INFINITY);
    assert.equal(last.status, 0, last.stderr);
    assert.deepEqual(await hashOf(out), await hashOf(wanted));
    assert.deepEqual(readdirSync(join(folder, "out")).sort(), readdirSync(join(folder, "wanted")).sort());
    for (const peak of [stdout, last.stdout]) assert.ok(Number(peak) * 1024 < 2 * 2 ** 30, `a peak of ${peak} KiB`);
    // Small models prove little about memory but this: it is that of the process, and of a matrix.
    if (!wholeSweeps) assert.ok(Number(stdout) < 400 * 1024, `a peak of ${stdout} KiB`);
    rmSync(quantized, { recursive: true });
  });

  test("a conversion of another source, or into another type, begins anew", async () => {
    const out = join(folder, "other.gguf");
    spawnSync(process.execPath, [child, source, out, "f16", String(whole.length)]);
    assert.ok(existsSync(`${out}.partial`));
    const done = await convertModel(source, out, { type: "q8_0" });
    assert.equal(done.resumedBytes, 0);
    assert.ok(readFileSync(out).equals(whole));
    spawnSync(process.execPath, [child, source, out, "q8_0", String(whole.length / 2)]);
    utimesSync(source, 1, 1);
    assert.equal((await convertModel(source, out, { type: "q8_0" })).resumedBytes, 0);
    assert.ok(readFileSync(out).equals(whole));
  });

  test("a torn line of the journal, and a stopped run", async () => {
    const out = join(folder, "torn.gguf");
    const stop = new AbortController();
    const onProgress = (bytes: number) => bytes > whole.length / 2 && stop.abort();
    await assert.rejects(
      convertModel(source, out, { type: "q8_0", lineBytes: 1 << 19, onProgress, signal: stop.signal }),
      { code: "CANCELLED" },
    );
    const journal = readFileSync(`${out}.journal`, "utf8");
    assert.match(journal, /^convert 1 [0-9a-f]{64}\n(\n?pieces \d+ crc 0\n)+$/);
    writeFileSync(`${out}.journal`, `${journal}pieces 99999 cr`);
    assert.ok((await convertModel(source, out, { type: "q8_0" })).resumedBytes > 0);
    assert.ok(readFileSync(out).equals(whole));
  });

  test("what cannot be written is said before", async () => {
    const code = (of: string) => ({ code: of });
    await assert.rejects(convertModel(source, source), code("OPTION_INVALID"));
    await assert.rejects(convertModel(source, join(folder, "x.bin")), code("OPTION_INVALID"));
    await assert.rejects(convertModel(source, join(folder, "nowhere", "x.gguf")), code("FILE_NOT_FOUND"));
    mkdirSync(join(folder, "folder.gguf"));
    await assert.rejects(convertModel(source, join(folder, "folder.gguf")), code("FILE_IO"));
  });
});
