import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { openCheckpoint } from "../../containers/index.js";
import { dtypeByName, writeGguf } from "../../formats/index.js";
import { main } from "../main.js";
import { type InspectReport, inspect } from "./inspect.js";

const folder = mkdtempSync(join(tmpdir(), "hundredweight-inspect-"));
after(() => rmSync(folder, { recursive: true }));
const path = join(folder, "model.gguf");

/** Runs the command line in this process. */
async function run(...argv: string[]): Promise<{ code: number; out: string; err: string }> {
  const result = { code: 0, out: "", err: "" };
  const { stdout, stderr } = process;
  const writeOut = stdout.write;
  const writeErr = stderr.write;
  // The test runner reports through stdout too, as buffers: those pass.
  stdout.write = ((data: string | Uint8Array, ...rest: []) => {
    if (typeof data !== "string") return writeOut.call(stdout, data, ...rest);
    result.out += data;
    return true;
  }) as typeof stdout.write;
  stderr.write = ((text: string) => {
    result.err += text;
    return true;
  }) as typeof stderr.write;
  try {
    result.code = await main(argv);
  } finally {
    stdout.write = writeOut;
    stderr.write = writeErr;
  }
  return result;
}

async function writeModel(): Promise<void> {
  await writeGguf(path, {
    metadata: [
      ["general.architecture", { type: "string", value: "llama" }],
      ["general.file_type", { type: "u32", value: 15 }],
      ["big", { type: "u64", value: 2n ** 63n }],
      ["rough", { type: "f32", value: Number.POSITIVE_INFINITY }],
      ["escape", { type: "string", value: "\u001b[31mred" }],
      ["few", { type: "array", element: "i32", value: Int32Array.of(1, -2) }],
      ["many", { type: "array", element: "string", value: Array.from({ length: 1000 }, (_, i) => `w${i}`) }],
    ],
    tensors: [
      { name: "a.weight", dtype: dtypeByName("Q4_K")!, shape: [256, 2], data: new Uint8Array(288) },
      { name: "b.weight", dtype: dtypeByName("F32")!, shape: [8], data: new Uint8Array(32) },
    ],
  });
}

test("inspect --json is one document with the agreed fields", async () => {
  await writeModel();
  const { code, out, err } = await run("inspect", path, "--json");
  assert.equal(code, 0, err);
  assert.equal(err, "");
  const report = JSON.parse(out) as InspectReport;
  assert.equal(report.path, path);
  assert.equal(report.format, "gguf");
  assert.equal(report.version, 3);
  assert.equal(report.architecture, "llama");
  assert.equal(report.fileType, "Q4_K_M");
  assert.equal(report.files.length, 1);
  assert.equal(report.parameters, 520);
  assert.equal(report.tensorBytes, 320);
  assert.equal(report.bitsPerWeight, (320 * 8) / 520);
  assert.deepEqual(report.dtypes, {
    Q4_K: { tensors: 1, parameters: 512, bytes: 288 },
    F32: { tensors: 1, parameters: 8, bytes: 32 },
  });
  const { offset, ...rest } = report.tensors[0]!;
  assert.deepEqual(rest, { name: "a.weight", dtype: "Q4_K", shape: [256, 2], bytes: 288, file: path });
  assert.equal(report.tensors[1]!.offset - offset, 288);
  assert.equal(report.metadata.big, "9223372036854775808");
  assert.equal(report.metadata.rough, "Infinity");
  assert.deepEqual(report.metadata.few, [1, -2]);
  assert.deepEqual((report.metadata.many as { length: number }).length, 1000);
  const whole = JSON.parse((await run("inspect", path, "--json", "--arrays")).out) as InspectReport;
  assert.equal((whole.metadata.many as string[])[999], "w999");
});

test("inspect as text: sizes, metadata, tensors on request, no escape sequences of the file", async () => {
  await writeModel();
  const { code, out } = await run("inspect", path);
  assert.equal(code, 0);
  assert.match(out, /architecture {2}llama/);
  assert.match(out, /Q4_K +1 +512 +288/);
  assert.match(out, /many = \["w0",.* 1,000 in all/);
  assert.ok(!out.includes("\u001b"));
  assert.ok(!out.includes("a.weight"));
  assert.match((await run("inspect", path, "--tensors")).out, /288 +Q4_K +\[256, 2\] +a\.weight/);
});

test("a vocabulary without tensors; wrongly typed keys do not stop the report", async () => {
  await writeGguf(path, { metadata: [["general.architecture", { type: "u8", value: 7 }]], tensors: [] });
  const report = inspect(await openCheckpoint(path));
  assert.equal(report.architecture, null);
  assert.equal(report.parameters, 0);
  assert.equal(report.bitsPerWeight, null);
  assert.deepEqual(report.metadata, { "general.architecture": 7 });
  assert.equal((await run("inspect", path)).code, 0);
});

test("failures are one line and an exit code", async () => {
  writeFileSync(path, "GGUF\u0003\0\0\0");
  const damaged = await run("inspect", path, "--json");
  assert.equal(damaged.code, 1);
  assert.equal(damaged.out, "");
  assert.match(damaged.err, /^error\[FORMAT_INVALID\]: [^\n]*\n$/);
  assert.match((await run("inspect", join(folder, "none"))).err, /^error\[FILE_NOT_FOUND\]/);
  assert.equal((await run("inspect")).code, 2);
});
