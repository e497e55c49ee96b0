/** Blocks of the file guess ahead: fewer passes where they are right, next to nothing where they are wrong. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { Engine } from "../src/engine/engine.js";
import { openParts } from "../src/engine/open.js";
import type { EngineOptions } from "../src/engine/options.js";
import type { GenerateRequest, GenerateResult } from "../src/link/protocol.js";
import { defaultSampling } from "../src/sampling/chain.js";
import { skipAddon } from "./support/addon.js";
import { cycle, writeForetoldModel } from "./support/foretold-model.js";
import type { GuessingFamily } from "./support/guessing-models.js";

const folder = mkdtempSync(join(tmpdir(), "hundredweight-draft-blocks-"));
after(() => rmSync(folder, { recursive: true, force: true }));

async function withEngine<T>(path: string, options: EngineOptions, use: (engine: Engine) => Promise<T>): Promise<T> {
  const engine = new Engine(await openParts(path, { threads: 1, contextTokens: 512, ...options }));
  try {
    return await use(engine);
  } finally {
    await engine.close();
  }
}

interface Answered {
  readonly ids: readonly number[];
  readonly result: GenerateResult;
}

let jobs = 0;
async function answer(
  engine: Engine,
  tokens: readonly number[],
  more: Partial<GenerateRequest> = {},
): Promise<Answered> {
  const ids: number[] = [];
  const request: GenerateRequest = {
    kind: "generate",
    prompt: { kind: "tokens", tokens: Int32Array.from(tokens) },
    sampling: { ...defaultSampling, seed: 1, temperature: 0 },
    maxTokens: 41,
    stop: [],
    ignoreEos: true,
    // Earlier answers of the same owner would guess in the blocks' place.
    scope: `answer ${jobs + 1}`,
    ...more,
  };
  const result = await engine.submit(++jobs, request, (event) => {
    if (event.kind === "token") ids.push(event.id);
  });
  return { ids, result: result as GenerateResult };
}

/** Tokens that follow the one at a place of the cycle. */
const behind = (place: number, count: number): number[] =>
  Array.from({ length: count }, (_, i) => cycle[(place + 1 + i) % cycle.length]!);

for (const family of [
  ["glm4moe", "moe", 1],
  ["qwen35", "dense", 1],
  ["step35", "moe", 3],
] satisfies GuessingFamily[])
  test(`${family[0]}: blocks that are right by construction are right, alone, together and behind a prefix`, {
    skip: skipAddon,
  }, async () => {
    const path = await writeForetoldModel(folder, family);
    await withEngine(path, { drafts: 4, sequences: 3 }, async (engine) => {
      const check = ({ ids, result }: Answered, place: number): number => {
        assert.deepEqual(ids, behind(place, ids.length));
        const { tried = 0, right = 0 } = result.drafts?.mtp ?? {};
        assert.equal(right, tried, `${right} of ${tried} guesses are right`);
        return right;
      };
      const begun = [5, 9, 200, cycle[7]!];
      // Nobody's in particular: everybody finds its past (decision 0111).
      const first = await answer(engine, begun, { scope: "" });
      // Four guesses and a token a pass; the first token comes from the prompt's pass.
      assert.equal(check(first, 7), 32);
      // A longer prompt that begins like it: what the blocks keep of the beginning is there already.
      const talk = [...begun, ...first.ids.slice(0, 30), 11, cycle[20]!];
      const second = await answer(engine, talk);
      // Look-ups guess what stood in the prompt.
      assert.ok(check(second, 20) >= 8);
      assert.ok(
        second.result.reusedTokens >= (family[0] === "qwen35" ? 0 : 30),
        `${second.result.reusedTokens} reused`,
      );
      const together = await Promise.all([3, 14, 31].map((place) => answer(engine, [...begun, cycle[place]!])));
      for (const [i, place] of [3, 14, 31].entries()) assert.equal(check(together[i]!, place), 32);
      const long = await answer(engine, [...Array.from({ length: 300 }, (_, i) => (5 * i) % 250), cycle[2]!]);
      assert.ok(check(long, 2) >= 8);
    });
  });

test("blocks that are never right are asked no more", {
  skip: skipAddon,
}, async () => {
  const path = await writeForetoldModel(folder, ["glm4moe", "moe", 1], true);
  await withEngine(path, {}, async (engine) => {
    const { ids, result } = await answer(engine, [cycle[0]!], { maxTokens: 400 });
    assert.deepEqual(ids, behind(0, 400));
    const { tried = 0, right = 0 } = result.drafts?.mtp ?? {};
    assert.equal(right, 0);
    assert.ok(tried <= 40, `${tried} guesses in vain`);
  });
});

test("without guesses nothing is bound for them: pages are those of the trunk", { skip: skipAddon }, async () => {
  const path = await writeForetoldModel(folder, ["glm4moe", "moe", 1]);
  const kvBytes = (drafts: "auto" | "off"): Promise<number> =>
    withEngine(path, { drafts }, async (engine) => {
      const asked = await engine.submit(++jobs, { kind: "memory" });
      return asked.kind === "memory" ? asked.memory.kvBytes : 0;
    });
  const [auto, off] = [await kvBytes("auto"), await kvBytes("off")];
  assert.equal(auto / off, 4 / 3, "three layers, and one of the block");
});
