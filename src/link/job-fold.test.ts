import assert from "node:assert/strict";
import { test } from "node:test";
import type { LedgerEntry } from "../engine/jobs.js";
import { JobFold } from "./job-fold.js";

const entry = { rows: 1 } as LedgerEntry;

test("events become a place in the queue, rows of the prompt, tokens and text", () => {
  const fold = new JobFold();
  const seen = () => [fold.ahead, fold.read, fold.total, fold.generated];
  fold.add({ kind: "queued", ahead: 3 });
  assert.deepEqual(seen(), [3, 0, 0, 0]);
  fold.add({ kind: "prompt", tokens: Int32Array.of(1, 2, 3) });
  fold.add({ kind: "pass", entry, done: 2, total: 3 });
  assert.deepEqual([...seen(), fold.firstTokenMs], [0, 2, 3, 0, undefined]);
  fold.add({ kind: "pass", entry, done: 3, total: 3 });
  let text = fold.add({ kind: "token", id: 7, text: "a" });
  const first = fold.firstTokenMs;
  assert.ok(first !== undefined && first >= 0);
  // A pass of the answer says nothing of the prompt.
  text += fold.add({ kind: "pass", entry, done: 4, total: 0 });
  text += fold.add({ kind: "token", id: 8, text: "" });
  text += fold.add({ kind: "text", text: "b" });
  assert.equal(text, "ab");
  assert.deepEqual([...seen(), fold.firstTokenMs], [0, 3, 3, 2, first]);
});

test("a job that was sent back waits again, and keeps what it has", () => {
  const fold = new JobFold();
  fold.add({ kind: "token", id: 7, text: "a" });
  fold.add({ kind: "queued", ahead: 1 });
  assert.deepEqual([fold.ahead, fold.generated], [1, 1]);
});
