import assert from "node:assert/strict";
import { PassThrough } from "node:stream";
import { test } from "node:test";
import { PromptInput, type PromptOptions } from "./prompt-input.js";

const patience = { pipe: 40, socket: 10 };
const reader = (input: PassThrough, options: Partial<PromptOptions> = {}) =>
  new PromptInput({ argument: "and that", source: "pipe", patience, input, ...options });

test("piped text comes first, then the argument; code points may arrive in pieces", async () => {
  const input = new PassThrough();
  const prompt = reader(input);
  const bytes = Buffer.from("größer\n");
  for (const byte of bytes) input.write(Buffer.of(byte));
  input.end();
  assert.equal(await prompt.text(), "größer\n and that");
});

test("once something came the rest is waited for, however long", async () => {
  const input = new PassThrough();
  const prompt = reader(input);
  input.write("a");
  setTimeout(() => input.end("b"), 3 * patience.pipe);
  assert.equal(await prompt.text(), "ab and that");
});

test("nobody writes: the argument alone after a while; --stdin and a missing argument wait", async () => {
  for (const source of ["pipe", "socket"] as const) {
    const input = new PassThrough();
    assert.equal(await reader(input, { source }).text(), "and that");
    assert.ok(input.destroyed);
  }
  for (const options of [{ wait: true }, { argument: undefined }]) {
    const input = new PassThrough();
    const prompt = reader(input, options);
    setTimeout(() => input.end("late"), 3 * patience.pipe);
    assert.match(await prompt.text(), /^late/);
  }
});

test("a device beside an argument is not read; a terminal with one neither", async () => {
  for (const source of ["other", "terminal"] as const) {
    const input = new PassThrough();
    assert.equal(await reader(input, { source }).text(), "and that");
    assert.equal(input.listenerCount("data"), 0);
  }
});

test("no prompt, too long a one, a broken stream and Ctrl-C end it with their codes", async () => {
  const ended = new PassThrough();
  ended.end(" \n");
  await assert.rejects(reader(ended, { argument: undefined }).text(), { code: "OPTION_INVALID", message: /no prompt/ });

  const endless = new PassThrough();
  const prompt = reader(endless);
  for (let i = 0; i < 9; i++) endless.write(Buffer.alloc(2 ** 20));
  await assert.rejects(prompt.text(), { code: "OPTION_INVALID", message: /8 MiB/ });
  assert.ok(endless.destroyed);

  const broken = new PassThrough();
  const failing = reader(broken);
  broken.destroy(new Error("EISDIR: illegal operation on a directory, read"));
  await assert.rejects(failing.text(), { code: "FILE_IO", message: /^standard input: EISDIR/ });

  const controller = new AbortController();
  const waiting = reader(new PassThrough(), { wait: true }).text(controller.signal);
  controller.abort();
  await assert.rejects(waiting, { code: "CANCELLED" });
});
