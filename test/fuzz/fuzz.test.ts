/**
 * Damaged files against the address- and undefined-behaviour-sanitized addon: opened, tokenized with, bound, run. Each
 * is a success or one of our errors, within 10 s and 512 MiB; never another exception, a crash, a report or a hang.
 * About 30 s of CPU, and 40 s more for the first build of the addon.
 *   HUNDREDWEIGHT_FUZZ_FILES=100000   more files (default 1200, and 20000 in a whole sweep)
 *   HUNDREDWEIGHT_SEED=7              other files
 * node dist/test/fuzz/run.js runs the same by hand.
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { packageRoot } from "../../src/package-root.js";
import { addressSanitizerLibrary, buildNative, sanitizerMissing } from "../support/native-build.js";
import { wholeSweeps } from "../support/sweeps.js";
import { makeBases } from "./bases.js";
import { damagedModel } from "./damage.js";
import { describe as describeSummary, fuzz } from "./fuzz.js";

const seed = Number(process.env.HUNDREDWEIGHT_SEED ?? 1);
const count = Number(process.env.HUNDREDWEIGHT_FUZZ_FILES ?? (wholeSweeps ? 20_000 : 1_200));
const preload = addressSanitizerLibrary();
const reason =
  process.platform !== "linux"
    ? "needs LD_PRELOAD and /proc"
    : (sanitizerMissing("address,undefined") ?? (preload === undefined ? "no shared libasan" : undefined));
if (reason !== undefined) console.log(`NOT TESTED: damaged files against a sanitized build: ${reason}`);

describe("damaged files", { skip: reason ?? false, timeout: 1_800_000 }, () => {
  before(() => buildNative(["--sanitize=address,undefined", ...(wholeSweeps ? ["--whole"] : [])]));

  it("are models or errors, soon and in bounded memory", async (t) => {
    const addon = join(packageRoot(), "build/native-asan/hundredweight.node");
    const summary = await fuzz({ seed, from: 0, count, addon, preload: preload! });
    for (const line of describeSummary(summary, seed).split("\n").slice(0, 2)) t.diagnostic(line);
    assert.equal(summary.faults.length, 0, describeSummary(summary, seed));
    assert.equal(summary.files, count);
    // Damage that is always found at the door, or never, would test nothing behind it.
    const share = (code: string) => (summary.outcomes.get(code) ?? 0) / count;
    if (count >= 2000)
      for (const code of ["ok", "FORMAT_INVALID", "MODEL_INVALID", "FORMAT_UNSUPPORTED"])
        assert.ok(share(code) > 0.01, `${code}: ${share(code)}`);
  });
});

describe("the fuzzer", { skip: reason ?? false }, () => {
  const folder = mkdtempSync(join(tmpdir(), "hundredweight-fuzz-test-"));
  after(() => rmSync(folder, { recursive: true, force: true }));

  /** A child of which file 3 does something. */
  const run = (body: string) => {
    const script = `
      const [seed, from, to] = process.argv.slice(1).map(Number);
      for (let n = from; n < to; n++) {
        console.log("> " + n);
        if (n === 3) { ${body} }
        console.log(n + " ok 1 1");
      }`;
    return fuzz({ seed: 1, from: 0, count: 6, addon: "", preload: "", child: ["-e", script, "--"] });
  };

  it("notices what kills a child, names the file and goes on behind it", async () => {
    for (const [body, what] of [
      ["process.abort()", /ended with SIGABRT/],
      ["process.kill(process.pid, 'SIGSEGV'); Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)", /SIGSEGV/],
      [
        "console.error('ERROR: AddressSanitizer: heap-buffer-overflow'); process.exit(1)",
        /ended with 1\n.*heap-buffer/,
      ],
      ["console.log('3 FAULT 1 1'); continue", /blames us/],
      ["console.log('3 ok 10001 1'); continue", /took 10001 ms/],
      ["console.log('3 ok 1 ' + 513 * 1024); continue", /grew by/],
    ] as const) {
      const { faults, files, outcomes } = await run(body);
      assert.deepEqual(
        faults.map(({ number }) => number),
        [3],
        body,
      );
      assert.match(faults[0]!.what, what);
      assert.equal(files, 6);
      assert.ok((outcomes.get("ok") ?? 0) >= 5);
    }
  });

  it("kills a child that hangs", async () => {
    const began = performance.now();
    const { faults } = await run("for (;;);");
    assert.match(faults[0]!.what, /^killed after 10 s/);
    assert.ok(performance.now() - began < 20_000);
  });

  it("makes the same file from the same number, and sound files where it damages nothing", async () => {
    const bases = await makeBases(folder);
    const again = await makeBases(folder);
    let sound = 0;
    for (let number = 0; number < 300; number++) {
      const model = damagedModel(bases, seed, number);
      assert.deepEqual(damagedModel(again, seed, number), model);
      if (!model.what.endsWith(": none")) continue;
      sound++;
      assert.ok(bases.some(({ files }) => Buffer.compare(files[0]!.bytes, model.files[0]!) === 0));
    }
    assert.ok(sound < 30);
  });
});
