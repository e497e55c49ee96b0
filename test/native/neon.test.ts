/**
 * The NEON kernels on a machine without an Arm CPU: cross-compiled, run under qemu, compared with scalar bit for bit.
 * A part of their sweep that the seed draws.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { before, describe, it } from "node:test";
import { packageRoot } from "../../src/package-root.js";
import { wholeSweeps } from "../support/sweeps.js";

const root = packageRoot();
const out = "build/native-aarch64";
const starts = (command: string) => spawnSync(command, ["--version"]).status === 0;
const compiler = process.env.CXX_TARGET ?? "aarch64-linux-gnu-g++";
const qemu = ["qemu-aarch64", "qemu-aarch64-static"].find(starts);
const reason =
  process.arch === "arm64"
    ? "this CPU is an Arm CPU: npm run test:native tests the kernels for real"
    : !starts(compiler)
      ? `no cross compiler ${compiler} (Debian: g++-aarch64-linux-gnu)`
      : qemu === undefined
        ? "no qemu-aarch64 (Debian: qemu-user-static)"
        : undefined;
if (reason !== undefined) console.log(`NOT TESTED: NEON kernels: ${reason}`);

function run(command: string, args: string[]) {
  // The tests choose the instruction set themselves.
  const env = { ...process.env, HUNDREDWEIGHT_ISA: "" };
  const result = spawnSync(command, args, { cwd: root, encoding: "utf8", env });
  return { status: result.status, text: `${result.stdout}${result.stderr}` };
}

const sweep = wholeSweeps ? ["--whole"] : [];
const emulate = (cpu: string, program: string) => run(qemu ?? "", ["-cpu", cpu, join(out, program), ...sweep]);

describe("NEON kernels under emulation", { skip: reason ?? false, timeout: wholeSweeps ? 7_200_000 : 600_000 }, () => {
  before(() => {
    const built = run(process.execPath, ["scripts/build-native.mjs", "--target=aarch64", "--kernels"]);
    assert.equal(built.status, 0, built.text);
  });

  // neoverse-n1 has Armv8.2, dotprod and fp16, and no i8mm, bf16 or SVE: anything newer than the baseline is an illegal
  // instruction there.
  for (const program of ["kernel_test", "float_test", "attention_test"]) {
    it(`${program} equals scalar bit for bit`, () => {
      const { status, text } = emulate("neoverse-n1", program);
      assert.equal(status, 0, text);
      assert.match(text, /tested against scalar: neon\n/);
      assert.match(text, /\d{4,} checks, 0 failures/);
    });
  }

  it("falls back to scalar on a CPU without dotprod", () => {
    const { status, text } = emulate("cortex-a53", "attention_test");
    assert.equal(status, 0, text);
    assert.match(text, /NOT TESTED: this CPU cannot run neon\n/);
  });
});
