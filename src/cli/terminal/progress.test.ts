/** Progress as it is read: numbers, rates and the time that is left. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { columnsOf } from "./columns.js";
import { Progress, type ProgressStream } from "./progress.js";
import { TokenProgress, type TokensDone } from "./token-progress.js";

class Screen {
  isTTY: boolean;
  columns = 80;
  texts: string[] = [];
  now = 0;
  constructor(isTTY: boolean) {
    this.isTTY = isTTY;
  }
  write(text: string): boolean {
    this.texts.push(text);
    return true;
  }
  get options() {
    return { stream: this as unknown as ProgressStream, clock: () => this.now };
  }
  get last(): string {
    return (this.texts.at(-1) ?? "").replace("\r\x1b[K", "");
  }
}

test("bytes are told in MiB, and what is quick is not told", () => {
  const screen = new Screen(true);
  const progress = new Progress("loading", { bytes: true, ...screen.options });
  progress.update(0, 977 * 2 ** 20);
  screen.now = 999;
  progress.update(100 * 2 ** 20, 977 * 2 ** 20);
  assert.deepEqual(screen.texts, []);
  screen.now = 2000;
  progress.update(310.9 * 2 ** 20, 977 * 2 ** 20);
  assert.equal(screen.last, "loading 310 of 977 MiB \u00b7 about 4 s left");
  progress.end();
  assert.equal(screen.texts.at(-1), "\r\x1b[K");
});

test("what was there before takes no time", () => {
  const screen = new Screen(true);
  const progress = new Progress("fetching", { ...screen.options });
  progress.update(90, 100);
  screen.now = 10_000;
  progress.update(95, 100);
  assert.equal(screen.last, "fetching 95 of 100 \u00b7 about 10 s left");
});

test("a pipe hears nothing unless it asks, then lines", () => {
  const silent = new Screen(false);
  const asked = new Screen(false);
  for (const [screen, forced] of [
    [silent, false],
    [asked, true],
  ] as const) {
    const progress = new Progress("reading", { forced, delayMs: 0, ...screen.options });
    progress.update(1, 4);
    screen.now = 3000;
    progress.update(2, 4, { facts: ["so far"] });
    progress.end();
  }
  assert.deepEqual(silent.texts, []);
  assert.deepEqual(asked.texts, ["reading 1 of 4\n", "reading 2 of 4 \u00b7 so far \u00b7 about 6 s left\n"]);
});

test("tokens are told from the first moment, with their rate of the last seconds", () => {
  const screen = new Screen(true);
  let work: TokensDone = { done: 0, total: 6, tokens: 0 };
  const progress = new TokenProgress("", () => work, screen.options);
  assert.equal(screen.last, "0 of 6 \u00b7 0 tokens");
  screen.now = 1000;
  work = { done: 0, total: 6, tokens: 2 };
  progress.show();
  assert.equal(screen.last, "0 of 6 \u00b7 2 tokens \u00b7 2.0/s");
  for (let second = 2; second <= 51; second++) {
    screen.now = 1000 * second;
    work = { done: 3, total: 6, tokens: Math.round(3 + 2.3 * (second - 1)), tokensLeft: 276 };
    progress.show();
  }
  assert.equal(screen.last, "3 of 6 \u00b7 118 tokens \u00b7 2.3/s \u00b7 about 2 min left");
  progress.end();
});

test("a line in place is never longer than the terminal", () => {
  for (const columns of [20, 40, 80]) {
    const screen = new Screen(true);
    screen.columns = columns;
    const progress = new Progress("fetching", { delayMs: 0, ...screen.options });
    progress.update(1, 2, { facts: ["\u8a00\u8a9e-very-long-name-of-a-model-in-many-parts-00001-of-00009.gguf"] });
    assert.ok(columnsOf(screen.last) < columns, screen.last);
    progress.end();
  }
});
