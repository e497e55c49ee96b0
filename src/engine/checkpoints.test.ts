/** Pasts that are kept of models whose states cannot go back: where later prompts begin, and what goes first. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type FakeOptions, fakeParts } from "../../test/support/fake-model.js";
import { defaultSampling } from "../sampling/chain.js";
import { checkpointsOf } from "./checkpoints.js";
import { Engine } from "./engine.js";
import type { GenerateResult } from "./jobs.js";

const control = 257;

/** Messages of so many tokens, each behind a control token. */
function messages(...lengths: readonly number[]): Int32Array {
  return Int32Array.from(
    lengths.flatMap((n, m) => [control, ...Array.from({ length: n }, (_, i) => (m * 31 + i) % 250)]),
  );
}

test("checkpoints: the end of the first message, the last turns, the last token, some between", () => {
  const shape = { isControl: (token: number) => token === control, checkpoints: 8 };
  const of = (tokens: Int32Array) => checkpointsOf({ ...shape, tokens, promptTokens: tokens.length });
  assert.deepEqual(of(messages(40, 10, 20, 30, 5)), [41, 52, 73, 104, 109]);
  assert.deepEqual(of(messages(40, 10, 20, 30, 6, 7, 8)), [41, 104, 111, 119, 127]);
  assert.deepEqual(of(messages(3, 3)), []);
  // 5000 tokens by 2048, 100,000 by 8192: no more than there is room for, no farther apart than a prompt may be read
  // again.
  assert.deepEqual(of(messages(5000)), [2048, 4096, 5000]);
  const long = of(messages(100_000));
  assert.deepEqual(long.slice(0, 2), [8192, 16384]);
  assert.equal(long.length, 13);
});

/** How many tokens of each prompt were there already, one after the other. */
async function reused(options: FakeOptions, prompts: readonly Int32Array[]): Promise<number[]> {
  const engine = new Engine(fakeParts({ contextTokens: 2048, window: 0, ...options }));
  const found: number[] = [];
  for (const [i, tokens] of prompts.entries()) {
    const result = await engine.submit(i + 1, {
      kind: "generate",
      prompt: { kind: "tokens", tokens },
      sampling: { ...defaultSampling, temperature: 0, seed: 1 },
      maxTokens: 4,
      stop: [],
      ignoreEos: true,
    });
    found.push((result as GenerateResult).reusedTokens);
  }
  await engine.close();
  return found;
}

test("a last turn that is written anew, the same prompt again, another one with the same system prompt", async () => {
  const system = messages(100);
  const first = Int32Array.from([...system, ...messages(20), ...messages(2)]);
  // As templates that leave out what was thought: behind the turn's beginning other tokens follow.
  const second = Int32Array.from([...first.subarray(0, 122), control, 7, 7, 7, ...messages(30), ...messages(2)]);
  const other = Int32Array.from([...system, control, 9, 9, 9, 9, ...messages(2)]);
  const prompts = [first, second, second, other, first];
  assert.deepEqual(await reused({ recurrent: 16 }, prompts), [0, 122, second.length - 1, 101, first.length - 1]);
  // As many slots as run: the last past is all there is.
  assert.deepEqual(await reused({ recurrent: 0 }, [first, second]), [0, 0]);
  // A model without such states needs no checkpoints.
  assert.deepEqual(await reused({}, [first, second]), [0, 123]);
});

test("of checkpoints the one goes whose loss costs least; a system prompt that is used stays", async () => {
  const system = messages(600);
  const turn = (n: number) => Int32Array.from([...system, control, ...new Array<number>(30).fill(n), ...messages(2)]);
  const found = await reused({ recurrent: 3 }, [1, 2, 3, 4, 5, 6].map(turn));
  assert.deepEqual(found, [0, 601, 601, 601, 601, 601]);
});
