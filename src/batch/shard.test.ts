import assert from "node:assert/strict";
import { test } from "node:test";
import { beginningOf, Cut } from "./cut.js";
import { readRequest } from "./request.js";
import { parseShard, partLines } from "./shard.js";

test("I/N is read, and counted from 0", () => {
  assert.deepEqual(parseShard("0/1"), { index: 0, count: 1 });
  assert.deepEqual(parseShard(" 2/3 "), { index: 2, count: 3 });
  for (const text of ["3/3", "1", "1/0", "-1/2", "1/2/3", "0/99999", "a/b", ""])
    assert.throws(() => parseShard(text), /--shard: /, text);
});

test("every line has one shard, shards cost about the same, common beginnings stay together", () => {
  const cut = new Cut();
  const keys = new Map<number, number>();
  // Groups of very different sizes, interleaved; dear lines among cheap ones.
  for (let line = 1; line <= 5000; line++) {
    if (line % 50 === 0) continue; // cannot be asked
    const key = (line * line) % 97 < 40 ? 7 : line % 200;
    keys.set(line, key);
    cut.add({ number: line, start: 10 * line, end: 10 * line + 10 }, key, 10 + ((line * 7919) % 100));
  }
  for (const count of [1, 2, 3, 7, 64]) {
    const shards = partLines(cut, count, 5000);
    const loads = new Array<number>(count).fill(0);
    let changes = 0;
    for (let place = 0; place < cut.length; place++) {
      const { number, cost } = cut.at(place);
      assert.ok(shards[number]! < count);
      loads[shards[number]!]! += cost;
      if (place > 0 && shards[number] !== shards[cut.at(place - 1).number]) changes++;
    }
    const mean = cut.cost / count;
    assert.ok(Math.max(...loads) < 1.25 * mean && Math.min(...loads) > 0.75 * mean, `${count} shards: ${loads}`);
    assert.ok(changes <= 8 * count, `${count} shards are parted ${changes} times`);
    assert.deepEqual(partLines(cut, count, 5000), shards);
  }
});

test("the order has groups where they begin, lines in them as in the file, and knows where lines lie", () => {
  const cut = new Cut();
  for (const [i, key] of [9, 3, 9, 1, 3, 9].entries()) cut.add({ number: i + 1, start: 5 * i, end: 5 * i + 5 }, key, 1);
  const order = Array.from({ length: cut.length }, (_, place) => cut.at(place).number);
  assert.deepEqual(order, [1, 3, 6, 2, 5, 4]);
  assert.deepEqual(cut.at(3), { number: 2, start: 5, bytes: 5, cost: 1 });
});

test("messages before the last are what a conversation shares, a few characters what texts do", () => {
  const key = (url: string, body: object): number => {
    const bytes = Buffer.from(JSON.stringify({ custom_id: "a", method: "POST", url, body }));
    const { request } = readRequest({ number: 1, bytes, start: 0, end: bytes.length, ended: true });
    assert.ok("url" in request);
    return beginningOf(request);
  };
  const chat = (system: string, user: string) =>
    key("/v1/chat/completions", {
      messages: [
        { role: "system", content: system },
        { role: "user", content: user },
      ],
    });
  assert.equal(chat("long ".repeat(99), "a"), chat("long ".repeat(99), "b"));
  assert.notEqual(chat(`${"long ".repeat(99)}!`, "a"), chat("long ".repeat(99), "a"));
  const text = (prompt: unknown) => key("/v1/completions", { prompt });
  assert.equal(text(`${"x".repeat(200)}1`), text(`${"x".repeat(200)}2`));
  assert.notEqual(text("1"), text("2"));
  assert.equal(typeof text([1, 2, 3]), "number");
  assert.equal(typeof key("/v1/embeddings", {}), "number");
});
