import assert from "node:assert/strict";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { HundredweightError } from "../errors.js";
import { LineIndex } from "./line-index.js";
import { type Line, readLines } from "./lines.js";

const folder = mkdtempSync(join(tmpdir(), "hundredweight-lines-"));
after(() => rmSync(folder, { recursive: true, force: true }));

async function linesOf(content: Buffer | string, most = 100): Promise<Line[]> {
  const path = join(folder, "lines");
  writeFileSync(path, content);
  const fd = openSync(path, "r");
  try {
    const lines: Line[] = [];
    for await (const line of readLines(fd, path, most)) lines.push(line);
    return lines;
  } finally {
    closeSync(fd);
  }
}

test("places of lines are those in the file, with CRLF, blank lines, a BOM and bytes that are no text", async () => {
  const parts = ["\ufeff{1}\r\n", "\r\n", " \t\n", "two\n", Buffer.from([0xff, 0xc3, 0x0a]), "\n", "last\r"];
  const content = Buffer.concat(parts.map((part) => Buffer.from(part as string)));
  const lines = await linesOf(content);
  assert.deepEqual(
    lines.map(({ number, ended }) => [number, ended]),
    [
      [1, true],
      [4, true],
      [5, true],
      [7, false],
    ],
  );
  const ends = parts.map((_, i) => Buffer.concat(parts.slice(0, i + 1).map((p) => Buffer.from(p as string))).length);
  for (const { number, start, end, bytes } of lines) {
    assert.deepEqual([start, end], [ends[number - 2] ?? 0, ends[number - 1]]);
    const raw = content.subarray(start, end);
    assert.ok(raw.includes(bytes!) && raw.length - bytes!.length <= 4);
  }
  assert.deepEqual(await linesOf(""), []);
  assert.deepEqual(await linesOf("\ufeff\n"), []);
});

test("lines across and beyond the reader's pieces are whole, those that are too long are not held", async () => {
  const lengths = [2 ** 18 - 1, 2 ** 18, 2 ** 18 + 1, 1, 3 * 2 ** 18, 600_000];
  const content = lengths.map((length, i) => String(i).repeat(length)).join("\n");
  const lines = await linesOf(content, 600_000);
  assert.deepEqual(
    lines.map(({ bytes, start, end, ended }) => [bytes?.length, end - start - (ended ? 1 : 0)]),
    lengths.map((length) => [length <= 600_000 ? length : undefined, length]),
  );
  assert.ok(lines.every(({ bytes }, i) => bytes === undefined || bytes.every((byte) => byte === 48 + i)));
  assert.equal(readFileSync(join(folder, "lines")).length, content.length);
});

test("an index knows ids, repetitions and what is done among many lines", () => {
  const index = new LineIndex();
  const lines = 20_000;
  const hashOf = (number: number) => Buffer.alloc(16, number % 251);
  const idOf = (number: number) =>
    number % 100 === 0 ? null : number % 10 === 3 ? `id ${number - 1}` : `id ${number}`;
  for (let number = 1; number <= lines; number++) {
    if (number % 7 !== 0) index.add(number, idOf(number), hashOf(number), number % 2 === 0 ? number : undefined);
  }
  for (let number = 1; number <= lines + 10; number++) {
    const there = number % 7 !== 0 && number <= lines;
    assert.equal(index.has(number), there);
    if (!there) continue;
    assert.ok(
      index.hasId(number, idOf(number)) && !index.hasId(number, "null") && index.hasHash(number, hashOf(number)),
    );
    assert.ok(!index.hasHash(number, hashOf(number + 1)));
    const repeats = number % 10 === 3 && (number - 1) % 7 !== 0;
    assert.equal(index.earlierThan(number, idOf(number)), repeats ? number - 1 : undefined);
    if (number > 10) index.markDone(number);
  }
  assert.equal(index.done, index.lines - [1, 2, 3, 4, 5, 6, 8, 9, 10].length);
  assert.deepEqual([...index.tokensLeft()], [2, 4, 6, 8, 10]);
  assert.throws(() => index.add(10_000_001, null, hashOf(1), 1), HundredweightError);
});
