/** The command line as a program sees it: exit codes, error lines, what is on which stream. No model is loaded. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { diskInfo } from "../weights/disk-info.js";
import { main } from "./main.js";
import { parseCpuList } from "./options/model-options.js";
import { parseBytes } from "./options/options.js";
import { memoryDocument } from "./reports/memory-report.js";
import { answerTime } from "./reports/plan-report.js";
import { formatBytes } from "./terminal/output.js";

const folder = mkdtempSync(join(tmpdir(), "hw-cli-"));
after(() => rmSync(folder, { recursive: true }));

/**
 * Runs a command in this process with both streams caught. The test runner writes bytes to stdout, we write strings.
 */
async function cli(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const restore: (() => void)[] = [];
  const capture = (stream: NodeJS.WriteStream): string[] => {
    const texts: string[] = [];
    const write = stream.write;
    stream.write = ((chunk: string | Uint8Array, ...rest: never[]) => {
      if (typeof chunk !== "string") return write.call(stream, chunk, ...rest);
      texts.push(chunk);
      return true;
    }) as typeof write;
    restore.push(() => {
      stream.write = write;
    });
    return texts;
  };
  const out = capture(process.stdout);
  const err = capture(process.stderr);
  try {
    const code = await main(args);
    return { code, out: out.join(""), err: err.join("") };
  } finally {
    for (const undo of restore) undo();
  }
}

test("usage errors: exit code 2, one line naming the option, nothing on stdout", async () => {
  const file = join(folder, "any.gguf");
  writeFileSync(file, "x");
  const cases: [string[], RegExp][] = [
    [["run", file, "p", "--temperature", "hot"], /--temperature: 'hot'/],
    [["run", file, "p", "--top-p", "1.5"], /--top-p/],
    [["run", file, "p", "--temp", "hot"], /--temp: 'hot'/],
    [["run", file, "p", "--top-nsigma", "-2"], /--top-nsigma/],
    [["run", file, "p", "--typical-p", "2"], /--typical-p/],
    [["run", file, "p", "--sampler-seq", "kz"], /'z' is no sampler/],
    [["run", file, "p", "-n", "-2"], /--max-tokens/],
    [["run", file, "p", "--ctx", "0"], /--ctx/],
    [["run", file, "p", "--kv", "f32"], /--kv: 'f32' is no type of a KV cache: one of f16, q8_0, q4_0/],
    [["run", file, "p", "--memory", "lots"], /--memory: 'lots' is not a size/],
    [["run", file, "p", "--memory", "10"], /--memory: '10' has no unit; write 10GiB, 10GB, 10MiB or 10B \(bytes\)/],
    [["chat", file, "--ring", "1048576"], /--ring: '1048576' has no unit/],
    [["serve", file, "--max-body", "0.5"], /--max-body: '0.5' has no unit/],
    [["plan", file, "--disk-rate", "2000000000/s"], /--disk-rate: '2000000000' has no unit/],
    [["run", file, "p", "--ring", "1KiB"], /--ring/],
    [["run", file, "p", "--weights-memory", "x"], /--weights-memory/],
    [["run", file, "p", "--io", "fast"], /--io/],
    [["run", file, "p", "--threads", "0"], /--threads/],
    [["run", file, "p", "--cpu-list", "3-1"], /--cpu-list/],
    [["run", file, "p", "--seed", "1.5"], /--seed/],
    [["run", file, "p", "--logit-bias", "5"], /--logit-bias/],
    [["run", file, "p", "--no-such-option"], /--no-such-option/],
    [["run", file, "p", "surplus"], /too many arguments/i],
    [["logits", file, "--out", join(folder, "o")], /--tokens/],
    [["logits", file, "--tokens", "1,x", "--out", join(folder, "o")], /--tokens/],
    [["logits", file, "--tokens", "1"], /--out/],
    [["perplexity", file], /file/],
    [["bench"], /model/],
    [["nonsense"], /nonsense/],
  ];
  for (const [args, message] of cases) {
    const { code, out, err } = await cli(...args);
    assert.equal(code, 2, args.join(" "));
    assert.equal(out, "");
    assert.match(err, /^error\[OPTION_INVALID\]: [^\n]+\n$/);
    assert.match(err, message);
  }
});

test("a file that is missing or no model: exit code 1 and one line, for every command", async () => {
  const junk = join(folder, "junk.gguf");
  writeFileSync(junk, "this is no model at all");
  for (const [path, expected] of [
    [join(folder, "missing.gguf"), /^error\[FILE_NOT_FOUND\]: [^\n]+\n$/],
    [junk, /^error\[FORMAT_[A-Z]+\]: [^\n]+\n$/],
  ] as const) {
    for (const args of [
      ["run", path, "hello", "--json"],
      ["chat", path],
      ["logits", path, "--tokens", "1", "--out", join(folder, "o")],
      ["perplexity", path, junk],
      ["bench", path],
    ]) {
      const { code, out, err } = await cli(...args);
      assert.equal(code, 1, args.join(" "));
      assert.equal(out, "");
      assert.match(err, expected);
    }
  }
});

test("help of every command, on stdout, exit code 0", async () => {
  for (const name of ["run", "chat", "logits", "perplexity", "bench", "doctor"]) {
    const { code, out, err } = await cli(name, "--help");
    assert.equal(code, 0);
    assert.match(out, new RegExp(`Usage: hundredweight ${name}`));
    assert.equal(err, "");
  }
});

test("the name alone begins with three commands, and is wrong use", async () => {
  const { code, out, err } = await cli();
  assert.equal(code, 2);
  assert.equal(err, "");
  assert.equal(out.match(/^ {2}hundredweight (chat|plan|serve) /gm)?.length, 3);
  assert.ok(out.split("\n").length < 12 && out.split("\n").every((line) => line.length <= 80), out);
});

test("a plan says how long a page takes", () => {
  assert.equal(answerTime(1 / 2.3), "about 2.3 tokens/s: a 300-token answer takes 2 min 10 s");
  assert.equal(answerTime(1 / 35), "about 35 tokens/s: a 300-token answer takes 9 s");
  assert.equal(answerTime(13.3), "about a token in 13 s: a 300-token answer takes 1 h 6 min");
  assert.equal(answerTime(1e-4), "about 10000 tokens/s: a 300-token answer takes 1 s");
});

test("doctor prints one JSON document", async () => {
  const { code, out } = await cli("doctor", "--json");
  assert.equal(code, 0);
  const report = JSON.parse(out) as Record<string, Record<string, unknown>>;
  assert.ok((report.memory!.totalBytes as number) > 0);
  assert.ok((report.memory!.budgetBytes as number) <= (report.memory!.totalBytes as number));
  assert.ok((report.cpu!.logicalCores as number) >= 1);
  assert.equal(typeof report.addon!.state, "string");
});

test("sizes and CPU lists", () => {
  assert.equal(parseBytes("512MiB", "--x"), 512 * 2 ** 20);
  assert.equal(parseBytes("10GB", "--x"), 1e10);
  assert.equal(parseBytes("1.5 GiB", "--x"), 1.5 * 2 ** 30);
  assert.equal(parseBytes("4096B", "--x"), 4096);
  assert.deepEqual(parseCpuList("0-3,6, 2"), [0, 1, 2, 3, 6]);
  assert.throws(() => parseCpuList("a"), { code: "OPTION_INVALID" });
  assert.equal(formatBytes(1536), "1.50 KiB");
});

test("the memory document adds up", () => {
  const before = { rssBytes: 50e6, mappedBytes: 10e6 };
  const report = {
    kvBytes: 3e6,
    kvTouchedBytes: 2e6,
    activationBytes: 2e6,
    activationTouchedBytes: 1e6,
    weightBytes: 1e6,
    allocations: 5,
    pinnedBytes: 0,
    slotBytes: 0,
    ringBytes: 0,
    lockedBytes: 0,
  };
  const memory = memoryDocument(before, report, 4e6, 1e9);
  const known = memory.pinnedBytes + memory.ringBytes + 2e6 + 1e6 + before.rssBytes;
  assert.equal(memory.unaccountedBytes, memory.peakRssBytes - known);
  assert.ok(memory.pinnedBytes <= 4e6);
});

test("the disk under a path: the longest mount point wins", () => {
  const info = diskInfo(process.cwd());
  assert.ok(info.totalBytes > 0 && info.freeBytes <= info.totalBytes);
  if (process.platform === "linux") assert.equal(diskInfo("/proc/self/status").fileSystem, "proc");
});
