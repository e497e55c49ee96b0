/** The waits of tests end, and say what for. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { test } from "node:test";
import { exited, firstOf, readUntil, until, within } from "./support/wait.js";

const child = (script: string) =>
  spawn(process.execPath, ["-e", script], { stdio: ["ignore", "pipe", "pipe"], env: process.env });

test("a wait in vain says what for and what was seen", async () => {
  const never = new Promise(() => {});
  await assert.rejects(
    within(never, "an answer", () => "half of it", 20),
    /^Error: waited 0 s in vain for an answer; seen: half of it$/,
  );
  const looking = until(() => false, "a file", { ms: 20, everyMs: 5 });
  await assert.rejects(looking, /in vain for a file$/);
  assert.equal(await within(Promise.resolve(7), "nothing"), 7);
});

test("an end that has been is an end, and of one that says nothing its errors are told", async () => {
  const ended = child("process.exitCode = 3");
  await exited(ended);
  await exited(ended);
  const silent = firstOf(child("console.error('no room'); process.exit(4)"), "data");
  await assert.rejects(silent, /no data of .*it ended with 4; seen: no room/s);
  assert.equal(String(await firstOf(child("console.log('yes')"), "data")), "yes\n");
});

test("a stream that ends before what is waited for is no wait", async () => {
  const stream = (...parts: string[]) => ReadableStream.from(parts).getReader() as ReadableStreamDefaultReader<string>;
  assert.equal(await readUntil(stream("one ", "two ", "three"), "two"), "one two ");
  await assert.rejects(readUntil(stream("one ", "two"), "four"), /ended without "four": one two/);
});
