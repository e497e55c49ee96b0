import assert from "node:assert/strict";
import { existsSync, linkSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { Journal } from "./journal.js";
import { LineIndex } from "./line-index.js";
import { encodeLine, idOf } from "./output.js";
import { outputPlace, refuseSameFile } from "./places.js";

const folder = mkdtempSync(join(tmpdir(), "hundredweight-journal-"));
after(() => rmSync(folder, { recursive: true, force: true }));
const path = join(folder, "out.jsonl");

const count = 4;
const hashOf = (line: number): Buffer => Buffer.alloc(16, line);
const idAt = (line: number): string | null => (line === 2 ? null : `c${line}`);

function asked(changed?: number, id = idAt): LineIndex {
  const index = new LineIndex();
  for (let line = 1; line <= count; line++) index.add(line, id(line), hashOf(line === changed ? 99 : line), 1);
  return index;
}

const answer = (line: number, hash = hashOf(line)): Buffer =>
  encodeLine({
    id: idOf(line),
    custom_id: idAt(line),
    response: line === 2 ? null : { status_code: 200, request_id: "r", body: { text: `süß "${line}" \n` } },
    error: line === 2 ? { code: "invalid_line", message: "?" } : null,
    request_hash: hash.toString("hex"),
  }).bytes;

const answers = Buffer.concat([answer(3), answer(1)]);

/** Opens it over `before`, answers the line that is left, and says what the file holds then. */
async function goOn(before: Buffer, index = asked()): Promise<{ after: Buffer; done: number; failed: number }> {
  writeFileSync(path, before);
  const journal = await Journal.open(outputPlace(path), index);
  const { done } = index;
  journal.append(answer(4));
  await journal.close();
  assert.ok(!existsSync(`${path}.lock`));
  return { after: readFileSync(path), done, failed: journal.failed };
}

async function refused(before: Buffer | string, why: RegExp, index = asked()): Promise<void> {
  writeFileSync(path, before);
  await assert.rejects(Journal.open(outputPlace(path), index), why);
  assert.ok(readFileSync(path).equals(Buffer.from(before as string)), "not a byte is changed");
  assert.ok(!existsSync(`${path}.lock`));
}

test("torn anywhere, it goes on after the last whole line", async () => {
  const torn = answer(2);
  for (let length = 0; length < torn.length - 1; length++) {
    const { after, done } = await goOn(Buffer.concat([answers, torn.subarray(0, length)]));
    assert.ok(after.equals(Buffer.concat([answers, answer(4)])), `torn after ${length} bytes`);
    assert.equal(done, 2);
  }
  // The first line, as far as it says that it is ours.
  for (const length of [17, 18, 25, torn.length - 2]) {
    const { after } = await goOn(torn.subarray(0, length));
    assert.ok(after.equals(answer(4)), `torn after ${length} bytes`);
  }
});

test("a line that lacks its line feed only is kept", async () => {
  const { after, done, failed } = await goOn(Buffer.concat([answers, answer(2).subarray(0, -1)]));
  assert.ok(after.equals(Buffer.concat([answers, answer(2), answer(4)])));
  assert.deepEqual([done, failed], [3, 1]);
});

test("zeros of a loss of power are cut, with what follows them", async () => {
  const zeros = Buffer.alloc(5000);
  for (const lost of [zeros, Buffer.concat([answer(2).subarray(0, 40), zeros, Buffer.from('tail"}\n'), answer(2)])]) {
    const { after } = await goOn(Buffer.concat([answers, lost]));
    assert.ok(after.equals(Buffer.concat([answers, answer(4)])));
  }
});

test("after an editor nothing is lost: BOM, CRLF, blank lines, white space, no last line feed", async () => {
  const text = answers.toString();
  const edits = [
    `\ufeff${text}`,
    text.replaceAll("\n", "\r\n"),
    `\ufeff\r\n${text.replaceAll("\n", "\r\n\r\n")}`,
    `\n\n${text.replaceAll("\n", "\n\n")}\n`,
    `  ${text.trimEnd()}`,
    `\ufeff${text.replaceAll("\n", "\r\n").trimEnd()}`,
    `${text.trimEnd()}  \t`,
    text
      .trimEnd()
      .split("\n")
      .map((line) => JSON.stringify(JSON.parse(line)).replaceAll('":', '": ').replaceAll(',"', ', "'))
      .join("\n"),
  ];
  for (const edited of edits) {
    const { after, done } = await goOn(Buffer.from(edited));
    const feed = edited.endsWith("\n") ? "" : "\n";
    assert.equal(after.toString(), `${edited}${feed}${answer(4)}`, JSON.stringify(edited));
    assert.equal(done, 2);
    // And torn after that.
    const torn = Buffer.concat([Buffer.from(`${edited}${feed}`), answer(2).subarray(0, 30)]);
    assert.equal((await goOn(torn)).after.toString(), `${edited}${feed}${answer(4)}`);
  }
});

test("what is not ours is refused and left as it is", async () => {
  const foreign: (Buffer | string)[] = [
    "one line without an end",
    "{",
    '{"id":"batch_req',
    '{"id":"batch_req_wnaDys","custom_id":"c"', // OpenAI's
    '{"id": "batch_req_1", "custom_id": "c',
    '{"id":"batch_req_1","name":"c',
    `${"x".repeat(9 * 2 ** 20)}\n`,
    "\0",
    Buffer.alloc(100),
    "\0\0text\n",
    "\nnotes\n",
    Buffer.from([0xff, 0xfe, 0x0a, 0xc3]),
    Buffer.from(answers.toString(), "utf16le"),
    "[1,2]\n",
    "null\n",
    '{"id":"batch_req_1","custom_id":"c1"}\n',
    Buffer.concat([answers, Buffer.from("# my notes\n")]),
    Buffer.concat([answers, Buffer.from("# my notes")]),
    Buffer.concat([answers, Buffer.from("{} \n")]),
    Buffer.concat([answers, Buffer.alloc(10), Buffer.from("\nmy notes\n")]),
  ];
  for (const before of foreign) await refused(before, /something else than answers of a batch/);
  await refused('{"custom_id":"c1","url":"/v1/completions","body":{}}\n', /requests, not answers .*swapped/);
  // Somebody's slip of the hand among whole lines is his to mend.
  await refused(Buffer.concat([answer(1).subarray(0, 50), Buffer.from("\n"), answer(3)]), /line 1 is damaged/);
});

test("answers to something else are refused, the first of them named", async () => {
  const other = Buffer.concat([answer(4), answer(3), answer(1)]);
  await refused(other, /'c3' \(line 3\) asked something else/, asked(3));
  await refused(
    other,
    /line 1 was 'c1', and has another custom_id now/,
    asked(undefined, (line) => `d${line}`),
  );
  const fewer = new LineIndex();
  for (const line of [1, 3]) fewer.add(line, idAt(line), hashOf(line), 1);
  await refused(other, /answers line 4, 'c4', which the input does not have/, fewer);
  await refused(Buffer.concat([answers, answers]), /'c1' \(line 1\) is answered twice/);
});

test("outputs from before there were hashes are gone on with", async () => {
  const old = Buffer.from(answers.toString().replace(/,"request_hash":"[0-9a-f]+"/g, ""));
  assert.ok(old.length < answers.length);
  const { after, done } = await goOn(old, asked(3));
  assert.ok(after.equals(Buffer.concat([old, answer(4)])));
  assert.equal(done, 2);
});

test("a lock is ours or nobody's file is removed for it; one file has one lock, whatever its name", async () => {
  writeFileSync(path, answers);
  for (const content of ["dear diary", "12 monkeys\n", " ", "9".repeat(30)]) {
    writeFileSync(`${path}.lock`, content);
    await assert.rejects(Journal.open(outputPlace(path), asked()), /out\.jsonl\.lock is in the way/);
    assert.equal(readFileSync(`${path}.lock`, "utf8"), content);
  }
  rmSync(`${path}.lock`);
  const name = join(folder, "name.jsonl");
  symlinkSync(path, name);
  const journal = await Journal.open(outputPlace(name), asked());
  assert.equal(readFileSync(`${path}.lock`, "utf8"), String(process.pid));
  await journal.close();
  const hard = join(folder, "hard.jsonl");
  linkSync(path, hard);
  for (const [a, b] of [
    [path, path],
    [path, name],
    [name, hard],
  ] as const)
    assert.throws(() => refuseSameFile(outputPlace(a), outputPlace(b)), /one file/);
  const another = join(folder, "another");
  writeFileSync(another, "");
  refuseSameFile(outputPlace(path), outputPlace(another));
});
