/** Standard output that takes no more: one line says so, whatever the command. */
import assert from "node:assert/strict";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { finish, runCli, startCliIn } from "./support/cli.js";

const folder = mkdtempSync(join(tmpdir(), "hundredweight-stdout-"));
after(() => rmSync(folder, { recursive: true, force: true }));
const skip = existsSync("/dev/full") ? false : "no /dev/full";

test("a full standard output is an error of one line, --help and every command alike", { skip }, async () => {
  const { out } = await runCli(["--help"]);
  const commands = [...out.slice(out.indexOf("Commands:")).matchAll(/^ {2}([a-z]+)/gm)].map(([, name]) => name!);
  assert.ok(commands.length >= 12 && commands.includes("serve"), commands.join(" "));
  const model = "models/demo.gguf";
  assert.ok(existsSync(model));
  const batch = join(folder, "in.jsonl");
  writeFileSync(batch, '{"custom_id":"a","url":"/v1/completions","body":{"prompt":"a","max_tokens":1}}\n{\n');
  const cases = [
    ["--help"],
    ["--version"],
    ...commands.map((command) => [command, "--help"]),
    ["inspect", model],
    ["inspect", model, "--json"],
    ["tokenize", model, "some text"],
    ["plan", model, "--no-probe", "--json"],
    ["doctor", "--json"],
    ["run", model, "Count", "-n", "20", "--threads", "1", "--no-probe"],
    ["batch", batch, "-", "--threads", "1", "--no-probe"],
    ["batch", batch, join(folder, "out.jsonl"), "--json", "--threads", "1", "--no-probe"],
  ];
  for (const args of cases) {
    const end = await finish(startCliIn('exec "$@" > /dev/full', args));
    assert.equal(end.code, 1, `${args.join(" ")}: ${end.err}`);
    const lines = end.err.replace(/^\d+ lines answered.*\n/, "");
    assert.equal(lines, "error[FILE_IO]: standard output: ENOSPC no space left on device\n", args.join(" "));
  }
});

test("a full or closed standard error costs no answer", { skip }, async () => {
  const args = [
    "run",
    "Once upon a time",
    "-n",
    "8",
    "--temperature",
    "0",
    "--threads",
    "1",
    "--progress",
    "--no-probe",
  ];
  const wanted = await runCli(args);
  assert.equal(wanted.code, 0, wanted.err);
  assert.notEqual(wanted.err, "");
  for (const where of ["2> /dev/full", "2>&-"]) {
    const end = await finish(startCliIn(`exec "$@" ${where}`, args));
    assert.deepEqual([end.code, end.out], [0, wanted.out], where);
  }
});
