import assert from "node:assert/strict";
import { test } from "node:test";
import { OtherWork } from "./other-work.js";

const ready = (threads: number): string => `cpu  1 2 3\nctxt 9\nprocs_running ${threads}\nprocs_blocked 0\n`;

test("computing takes longer by the share that others get, as they were in the last ten seconds", () => {
  let text = ready(1);
  const work = new OtherWork(() => text, 2, 4);
  assert.equal(work.slowdown.prompt, 1, "nobody has looked");
  work.look();
  assert.equal(work.slowdown.prompt, 1, "who looks is no other");
  text = ready(3);
  for (let i = 0; i < 20; i++) work.look();
  assert.equal(work.slowdown.prompt, 1, "there are processors for all of them");
  text = ready(7);
  for (let i = 0; i < 9; i++) work.look();
  assert.equal(work.slowdown.prompt, 1, "what runs for a moment");
  for (let i = 0; i < 11; i++) work.look();
  assert.equal(work.slowdown.prompt, 2, "(2 + 6) threads on 4 processors");
});

test("the first four seconds say nothing: a browser that opens the page is at work itself", () => {
  const work = new OtherWork(() => ready(7), 2, 4);
  for (let i = 0; i < 7; i++) work.look();
  assert.equal(work.slowdown.prompt, 1);
  work.look();
  assert.equal(work.slowdown.prompt, 2);
});

test("a system that tells nothing is taken for one of our own", () => {
  const none = new OtherWork(
    () => {
      throw new Error("ENOENT");
    },
    2,
    2,
  );
  none.look();
  const other = new OtherWork(() => "cpu 1 2 3\n", 2, 2);
  other.look();
  for (const work of [none, other]) assert.deepEqual(work.slowdown, { prompt: 1, token: 1 });
});

test("threads that meet often wait for whichever of them waits, and together at most twice over", () => {
  const slowdownOf = (others: number, threads: number, processors: number) => {
    const work = new OtherWork(() => ready(others + 1), threads, processors);
    for (let i = 0; i < 8; i++) work.look();
    return work.slowdown;
  };
  assert.deepEqual(slowdownOf(1, 2, 2), { prompt: 1.5, token: 2 });
  assert.deepEqual(slowdownOf(6, 2, 2), { prompt: 4, token: 7 });
  assert.deepEqual(slowdownOf(1, 16, 16), { prompt: 1.1, token: 2 });
  assert.deepEqual(slowdownOf(16, 16, 16), { prompt: 2, token: 4 });
  assert.deepEqual(slowdownOf(3, 1, 2), { prompt: 2, token: 2 });
});
