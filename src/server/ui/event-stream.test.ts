import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { eventStream } from "./event-stream.js";

interface Count {
  readonly type: "count" | "end";
  readonly n: number;
}

const add = (before: Count, after: Count): Count | undefined =>
  before.type === "count" && after.type === "count" ? { type: "count", n: before.n + after.n } : undefined;

async function readAll(response: Response): Promise<Count[]> {
  const text = await response.text();
  return text
    .split("\n")
    .filter((line) => line.startsWith("data: "))
    .map((line) => JSON.parse(line.slice(6)) as Count);
}

test("events come in order; a slow reader gets few large ones instead of many", async () => {
  const abort = new AbortController();
  let send!: (event: Count) => void;
  let ended = 0;
  const response = await eventStream<Count>(
    (given) => {
      send = given;
      send({ type: "count", n: 1 });
      return () => ended++;
    },
    { merge: add, signal: abort.signal },
  );
  for (let i = 0; i < 1000; i++) send({ type: "count", n: 1 }); // nobody reads
  send({ type: "end", n: 0 });
  const reading = readAll(response);
  await turn();
  abort.abort();
  const events = await reading;
  assert.equal(
    events.reduce((sum, { n }) => sum + n, 0),
    1001,
  );
  assert.ok(events.length < 10, `${events.length} events`);
  assert.equal(events.at(-1)!.type, "end");
  assert.equal(ended, 1);
});

test("a reader that never reads is sent away in bounded memory", async () => {
  let send!: (event: Count) => void;
  let ended = 0;
  await eventStream<Count>(
    (given) => {
      send = given;
      return () => ended++;
    },
    { signal: new AbortController().signal },
  );
  for (let i = 0; i < 20_000; i++) send({ type: "count", n: 1 });
  assert.equal(ended, 1);
});

test("a reader that goes unsubscribes, and a refusal is the caller's answer", async () => {
  let ended = 0;
  const response = await eventStream<Count>(() => () => ended++, { signal: new AbortController().signal });
  await response.body!.cancel();
  assert.equal(ended, 1);
  await assert.rejects(
    eventStream<Count>(() => Promise.reject(new Error("no such thing")), { signal: new AbortController().signal }),
    /no such thing/,
  );
});
