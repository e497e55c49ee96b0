/**
 * `batch`: whatever it is given to read or to write, nothing that was there is lost, and every line has its answer or
 * its error.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import {
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { open } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { finish, runCli, startCli, startCliIn } from "./support/cli.js";

const folder = mkdtempSync(join(tmpdir(), "hundredweight-batch-files-"));
after(() => rmSync(folder, { recursive: true, force: true }));
const at = (name: string): string => join(folder, name);
const posix = process.platform !== "win32";

interface Out {
  readonly id: string;
  readonly custom_id: string | null;
  readonly response: { status_code: number; body: Record<string, unknown> } | null;
  readonly error: { code: string; message: string } | null;
}

const request = (custom_id: string, more: object = {}): string =>
  JSON.stringify({
    custom_id,
    method: "POST",
    url: "/v1/completions",
    body: { prompt: `Count ${custom_id}`, max_tokens: 3, ...more },
  });
const requests = (count: number): string => Array.from({ length: count }, (_, i) => `${request(`r${i}`)}\n`).join("");
const batch = (input: string, output: string, ...more: string[]): string[] => [
  ...["batch", input, output, "--threads", "1", "--parallel", "4", "--no-probe"],
  ...more,
];

/** By line, without what says when and by whom it was answered. */
function answersIn(text: string): Map<string, unknown> {
  const lines = text.split(/\r?\n/).filter((line) => line.trim() !== "");
  const found = lines.map((line) => JSON.parse(line.replace(/^\ufeff/, "")) as Out);
  return new Map(
    found
      .map(({ id, custom_id, response, error }): [string, unknown] => [
        id,
        { custom_id, error, choices: response?.body.choices, fault: response?.body.error },
      ])
      .sort(),
  );
}

test("no file that is something else is touched: foreign outputs, swapped arguments, one file as both", async (t) => {
  const input = at("in.jsonl");
  writeFileSync(input, requests(2));
  const foreign: [string, Buffer | string][] = [
    ["one line without an end", "dear diary"],
    ["a long first line", `${"x".repeat(9 * 2 ** 20)}\nsecond\n`],
    ["a leading NUL", "\0\0\0text\n"],
    ["zeros", Buffer.alloc(4096)],
    ["an empty first line", "\nnotes\n"],
    ["invalid UTF-8", Buffer.from([0xff, 0xfe, 0x41, 0x0a, 0xc3])],
    ["other JSON lines", '{"a":1}\n{"a":2}\n'],
    ["one JSON document", '{\n  "id": "batch_req_1"\n}\n'],
    ["a brace", "{"],
    ["OpenAI's answers", '{"id": "batch_req_wnaDys", "custom_id": "request-2", "response": null, "error": null}\n'],
    ["OpenAI's answers, torn", '{"id":"batch_req_6743","custom_id_":"re'],
    ["a script", "#!/bin/sh\nexit\n"],
    ["CRLF text", "a\r\nb\r\n"],
    ["a model file", Buffer.concat([Buffer.from("GGUF\x03\0\0\0"), Buffer.alloc(64, 7)])],
  ];
  const refusals = foreign.map(([kind, content], i) => {
    const path = at(`foreign-${i}`);
    writeFileSync(path, content);
    return { kind, args: batch(input, path), path, content: Buffer.from(content as string) };
  });
  const content = readFileSync(input);
  const untouched = (kind: string, ...args: string[]) => refusals.push({ kind, args, path: input, content });
  writeFileSync(at("answers.jsonl"), '{"id":"batch_req_1","custom_id":"r0","response":null,"error":null}\n');
  untouched("swapped arguments", ...batch(at("answers.jsonl"), input));
  untouched("one file as both", ...batch(input, input));
  symlinkSync(input, at("symbolic"));
  untouched("through a symbolic link", ...batch(input, at("symbolic")));
  linkSync(input, at("hard"));
  untouched("through a hard link", ...batch(at("hard"), input));
  writeFileSync(at("out.jsonl.lock"), "mine");
  refusals.push({
    kind: "in the way of the lock",
    args: batch(input, at("out.jsonl")),
    path: at("out.jsonl.lock"),
    content: Buffer.from("mine"),
  });
  for (const { kind, args, path, content } of refusals) {
    await t.test(kind, async () => {
      const end = await runCli(args);
      assert.equal(end.code, 2, end.err);
      assert.match(end.err, /^error\[OPTION_INVALID\]: [^\n]*(something else|one file|swapped|in the way)[^\n]*\n$/);
      assert.ok(readFileSync(path).equals(content), `${kind}: every byte is there`);
    });
  }
  assert.ok(!existsSync(at("out.jsonl")));
  for (const missing of [batch(at("no such file"), at("out.jsonl")), batch(folder, at("out.jsonl"))]) {
    const end = await runCli(missing);
    assert.equal(end.code, 1);
    assert.match(end.err, /^error\[FILE_(NOT_FOUND|IO)\]/);
    assert.ok(!existsSync(at("out.jsonl")), "nothing is made for an input that is not there");
  }
});

test("pipes and devices as outputs are refused at once", { skip: !posix && "POSIX only" }, async () => {
  const input = at("in.jsonl");
  writeFileSync(input, requests(1));
  execFileSync("mkfifo", [at("out-pipe")]);
  for (const output of [at("out-pipe"), "/dev/full", "/dev/null"]) {
    const end = await runCli(batch(input, output));
    assert.equal(end.code, 1);
    assert.match(end.err, /^error\[FILE_NOT_REGULAR\]: [^\n]+\n$/);
  }
  const device = await runCli(batch("/dev/zero", at("out.jsonl")));
  assert.match(device.err, /^error\[FILE_NOT_REGULAR\]/);
  const both = await runCli(batch(input, "-", "--json"));
  assert.equal(both.code, 2);
});

test("- and pipes are standard input and output; a pipe is read once and gone on with", async (t) => {
  const wanted = await runCli(batch("-", "-"), requests(3));
  assert.equal(wanted.code, 0, wanted.err);
  const answers = answersIn(wanted.out);
  assert.deepEqual([...answers.keys()], ["batch_req_1", "batch_req_2", "batch_req_3"]);
  assert.ok(!existsSync("-"));

  const output = at("piped.jsonl");
  const end = await runCli(batch("-", output), requests(3));
  assert.equal(end.code, 0, end.err);
  assert.deepEqual(answersIn(readFileSync(output, "utf8")), answers);
  writeFileSync(output, readFileSync(output, "utf8").split("\n").slice(0, 2).join("\n"));
  const again = await runCli(batch("-", output, "--json"), requests(3));
  assert.equal(again.code, 0, again.err);
  assert.deepEqual(answersIn(readFileSync(output, "utf8")), answers);
  const { lines, resumed, done } = JSON.parse(again.out) as Record<string, number>;
  assert.deepEqual([lines, resumed, done], [3, 2, 1]);

  // What `head -c` leaves of the last line has an error of its own.
  const torn = await runCli(batch("-", "-"), requests(3).slice(0, -40));
  assert.equal(torn.code, 1);
  assert.equal(answersIn(torn.out).size, 3);

  await t.test(
    "named pipes, also when the writer comes late and slowly",
    { skip: !posix && "POSIX only" },
    async () => {
      const pipe = at("in-pipe");
      execFileSync("mkfifo", [pipe]);
      const ended = runCli(batch(pipe, "-"));
      const writer = await open(pipe, "w");
      for (const piece of [requests(3).slice(0, 100), requests(3).slice(100)]) {
        await new Promise((resolve) => setTimeout(resolve, 100));
        await writer.write(piece);
      }
      await writer.close();
      const { out, err } = await ended;
      assert.deepEqual(answersIn(out), answers, err);
    },
  );

  await t.test("waiting for input ends with Ctrl-C, and leaves nothing", { skip: !posix && "POSIX only" }, async () => {
    const temporary = at("tmp");
    mkdirSync(temporary, { recursive: true });
    const child = startCli(batch("-", at("never.jsonl")), { TMPDIR: temporary });
    const ended = finish(child);
    // More than a pipe holds: whoever takes it reads.
    await new Promise<void>((resolve) => child.stdin!.write(requests(20_000), () => resolve()));
    child.kill("SIGINT");
    const end = await ended;
    assert.equal(end.code, 130);
    assert.ok(end.err.includes("error[CANCELLED]"), end.err);
    assert.ok(!existsSync(at("never.jsonl")));
    assert.deepEqual(execFileSync("ls", [temporary], { encoding: "utf8" }), "");
  });
});

test("a hostile line has an error, its neighbours their answers", async () => {
  const deep = (open: string, close: string, n: number) =>
    `{"custom_id":"deep","method":"POST","url":"/v1/completions","body":{"prompt":${open.repeat(n)}${close.repeat(n)}}}`;
  const text = (line: string) => Buffer.from(`${line}\n`);
  const invalid = text(request("utf8"));
  invalid[invalid.indexOf("Count")] = 0xff;
  const input = at("hostile.jsonl");
  const lines = [
    text(request("r0")),
    text(deep("[", "]", 5000)),
    text(deep('{"a":[', "]}", 3000).replaceAll("[]", "[0]")),
    invalid,
    text(request("r0", { prompt: "the same id" })),
    text(request("big", { temperature: 0 }).replace('"temperature":0', '"temperature":1e999')),
    text(request("bias", { logit_bias: { 5: 0 } }).replace('{"5":0}', '{"5":-1e999}')),
    text(deep("[", "", 8_000_000)),
    text("x".repeat(9 * 2 ** 20)),
    text(request("r9")),
  ];
  writeFileSync(input, Buffer.concat(lines));
  const end = await runCli(batch(input, at("hostile-out.jsonl")));
  assert.equal(end.code, 1, end.err);
  const said = readFileSync(at("hostile-out.jsonl"), "utf8").trimEnd().split("\n");
  const outs = new Map(said.map((line) => [Number((JSON.parse(line) as Out).id.slice(10)), JSON.parse(line) as Out]));
  assert.equal(outs.size, lines.length);
  assert.deepEqual([outs.get(1)!.response?.status_code, outs.get(10)!.response?.status_code], [200, 200]);
  for (const line of [2, 3, 8]) {
    assert.equal(outs.get(line)!.custom_id, "deep");
    assert.match(outs.get(line)!.error!.message, /nested deeper/);
  }
  assert.match(outs.get(4)!.error!.message, /UTF-8/);
  assert.equal(outs.get(5)!.error!.code, "duplicate_custom_id");
  const { status_code, body } = outs.get(6)!.response!;
  assert.deepEqual([status_code, (body.error as { param: string }).param], [400, "temperature"]);
  const bias = outs.get(7)!.response!;
  assert.deepEqual([bias.status_code, (bias.body.error as { param: string }).param], [400, "logit_bias.5"]);
  assert.match(outs.get(9)!.error!.message, /longer than/);
  // Gone on with, the same lines have failed.
  const again = await runCli(batch(input, at("hostile-out.jsonl")));
  assert.equal(again.code, 1, again.err);
});

test("answers to other prompts under the same ids are not mixed", async () => {
  const input = at("asked.jsonl");
  const output = at("asked-out.jsonl");
  writeFileSync(input, requests(4));
  assert.equal((await runCli(batch(input, output))).code, 0);
  // As an editor leaves them.
  writeFileSync(output, `\ufeff${readFileSync(output, "utf8").replaceAll("\n", "\r\n\r\n").trimEnd()}`);
  writeFileSync(input, `\ufeff${requests(4).replaceAll("\n", "\r\n")}`);
  const before = readFileSync(output, "utf8");
  const same = await runCli(batch(input, output));
  assert.match(same.err, /^0 lines answered, 4 were there/);
  assert.equal(readFileSync(output, "utf8"), `${before}\n`);

  writeFileSync(input, requests(4).replace("Count r2", "Say r2").replace("Count r3", "Say r3"));
  const changed = await runCli(batch(input, output));
  assert.equal(changed.code, 2);
  assert.match(changed.err, /'r2' \(line 3\) asked something else/);
  assert.equal(readFileSync(output, "utf8"), `${before}\n`);
});

test("a full disk is told, and gone on from", { skip: !posix && "POSIX only" }, async () => {
  const input = at("much.jsonl");
  const output = at("much-out.jsonl");
  writeFileSync(input, requests(12));
  const wanted = answersIn((await runCli(batch(input, "-"))).out);
  // The most that a file may hold, in blocks of 512 bytes: the write that crosses it is torn there.
  for (const blocks of [1, 2, 5, 9]) {
    const end = await finish(startCliIn(`ulimit -f ${blocks}; exec "$@"`, batch(input, output)));
    assert.equal(end.code, 1, end.err);
    assert.match(end.err, /^error\[FILE_IO\]: [^\n]*much-out\.jsonl cannot be written: EFBIG[^\n]*\n$/);
    assert.ok(!existsSync(`${output}.lock`));
  }
  assert.notEqual(readFileSync(output, "utf8").at(-1), "\n", "a line is torn");
  const end = await finish(startCli(batch(input, output)));
  assert.equal(end.code, 0, end.err);
  assert.deepEqual(answersIn(readFileSync(output, "utf8")), wanted);
});
