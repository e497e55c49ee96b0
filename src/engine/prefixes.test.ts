/** Tests what is kept of prompts, what goes first, and that the same prompt is evaluated once. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { type FakeOptions, fakeParts } from "../../test/support/fake-model.js";
import { pagePositions } from "../ops/ops.js";
import { defaultSampling } from "../sampling/chain.js";
import { StateCache } from "../state/cache.js";
import { Engine } from "./engine.js";
import type { GenerateResult, JobEvent } from "./jobs.js";
import { PrefixCache } from "./prefixes.js";

const bos = 257;

/** So many tokens that begin like no other such list. */
function text(n: number, which: number): Int32Array {
  return Int32Array.from({ length: n }, (_, i) => (i === 0 ? which : (which * 31 + i * 7) % 250));
}

function prompt(...parts: readonly Int32Array[]): Int32Array {
  return Int32Array.from([bos, ...parts.flatMap((part) => [...part])]);
}

class Asked {
  readonly parts;
  readonly engine: Engine;
  readonly events: JobEvent[] = [];
  private jobs = 0;

  constructor(options: FakeOptions) {
    this.parts = fakeParts({ contextTokens: 4096, window: 0, ...options });
    this.engine = new Engine(this.parts);
  }

  async ask(
    tokens: Int32Array,
    more: { seed?: number; temperature?: number; maxTokens?: number; scope?: string } = {},
  ) {
    const { seed = 1, temperature = 0, maxTokens = 4, scope } = more;
    const ids: number[] = [];
    const result = await this.engine.submit(
      ++this.jobs,
      {
        kind: "generate",
        prompt: { kind: "tokens", tokens },
        sampling: { ...defaultSampling, temperature, seed },
        maxTokens,
        stop: [],
        ignoreEos: true,
        ...(scope !== undefined && { scope }),
      },
      (event) => {
        this.events.push(event);
        if (event.kind === "token") ids.push(event.id);
      },
    );
    return { ids, reused: (result as GenerateResult).reusedTokens };
  }
}

describe("what goes first", () => {
  const cacheOf = (pages: number, most: number) => {
    const clock = { ms: 1 };
    const cache = new StateCache({
      groups: [{ pages, window: 0 }],
      sequences: most + 2,
      contextTokens: pages * pagePositions,
      maxRows: 1024,
      copyPage: () => {},
    });
    const prefixes = new PrefixCache({ cache, most, now: () => clock.ms });
    const keep = (tokens: Int32Array, scope?: string): void => {
      const sequence = cache.openSequence();
      const parts = [{ sequence, rows: tokens.length }];
      assert.ok(prefixes.makeRoom(parts));
      cache.append(sequence, tokens.length);
      prefixes.keep({ sequence, tokens, scope });
    };
    const there = (tokens: Int32Array, scope?: string): number => prefixes.longest({ tokens, scope }, tokens.length);
    return { clock, keep, there, prefixes };
  };

  test("side requests take the place of side requests, however many come", () => {
    const { clock, keep, there } = cacheOf(16, 20);
    const talk = text(12 * pagePositions, 1);
    keep(talk);
    for (let i = 2; i < 100; i++) {
      clock.ms += 1000;
      keep(text(pagePositions + 100, i));
    }
    assert.equal(there(talk), talk.length);
    assert.equal(there(text(pagePositions + 100, 99)), pagePositions + 100);
    assert.equal(there(text(pagePositions + 100, 3)), 0);
  });

  test("where only a dear one is left, a side request costs it no more than its own size", () => {
    const { clock, keep, there } = cacheOf(16, 20);
    const talk = text(16 * pagePositions, 1);
    keep(talk);
    for (let i = 2; i < 30; i++) {
      clock.ms += 1000;
      keep(text(pagePositions + 100, i));
    }
    assert.equal(there(talk), 14 * pagePositions);
  });

  test("the number of those that are kept is no reason to lose a dear one", () => {
    const { clock, keep, there } = cacheOf(64, 3);
    keep(text(2000, 1));
    for (let i = 2; i < 30; i++) {
      clock.ms += 1000;
      keep(text(20, i));
    }
    assert.deepEqual([there(text(2000, 1)), there(text(20, 28)), there(text(20, 29))], [2000, 20, 20]);
    assert.equal(there(text(20, 5)), 0);
  });

  test("what lies unused is worth less with time; what is dear, for longer", () => {
    const { clock, keep, there } = cacheOf(16, 20);
    keep(text(10 * pagePositions, 1));
    clock.ms += 3600_000;
    keep(text(4 * pagePositions, 2));
    keep(text(4 * pagePositions, 3));
    keep(text(4 * pagePositions, 4));
    assert.equal(there(text(10 * pagePositions, 1)), 4 * pagePositions);
    assert.deepEqual(
      [2, 3, 4].map((which) => there(text(4 * pagePositions, which))),
      [1024, 1024, 1024],
    );
  });

  test("a past makes another one superfluous only for those who find it", () => {
    const { keep, there, prefixes } = cacheOf(16, 20);
    const long = text(600, 1);
    keep(long.subarray(0, 400), "one");
    keep(long, "two");
    assert.deepEqual([there(long, "one"), there(long, "two"), there(long)], [400, 600, 0]);
    keep(long.subarray(0, 300), "one");
    assert.equal(prefixes.size, 2);
    keep(long.subarray(0, 500));
    assert.equal(prefixes.size, 2, "what one owner has beyond nobody's is left");
    assert.deepEqual([there(long, "one"), there(long, "two"), there(long)], [500, 600, 500]);
    keep(long.subarray(0, 500), "three");
    assert.equal(prefixes.size, 2);
  });

  test("a beginning that several share counts once", () => {
    const { keep, there, clock } = cacheOf(16, 20);
    const system = text(8 * pagePositions, 1);
    keep(Int32Array.from([...system, ...text(20, 2)]));
    clock.ms += 1000;
    keep(Int32Array.from([...system, ...text(30, 3)]));
    clock.ms += 1000;
    keep(text(6 * pagePositions, 4));
    // What the two have of their own is cheaper than what the third has, and half of all is theirs together.
    assert.ok(there(system) >= 4 * pagePositions);
    assert.equal(there(text(6 * pagePositions, 4)), 6 * pagePositions);
  });
});

describe("whose a past is", () => {
  const long = prompt(text(600, 1));
  for (const [name, options] of [
    ["full attention", {}],
    ["a window", { window: 300 }],
    ["a state that is replaced", { recurrent: 16 }],
  ] as const) {
    test(`${name}: owners find their own and what is nobody's`, async () => {
      const { ask, engine, events } = bound(new Asked(options));
      const told = () => events.filter((event) => event.kind === "prefix").at(-1);
      const alone = await ask(long, { scope: "one" });
      assert.equal(alone.reused, 0);
      assert.equal((await ask(long, { scope: "one" })).reused, long.length - 1);
      for (const scope of ["two", undefined]) {
        const other = await ask(long, scope === undefined ? {} : { scope });
        assert.deepEqual(other, alone);
        assert.deepEqual(told(), { kind: "prefix", tokens: long.length, reused: 0 });
      }
      assert.equal((await ask(long, { scope: "three" })).reused, long.length - 1, "nobody's is everybody's");
      await engine.close();
    });

    test(`${name}: nobody waits for what another owner reads`, async () => {
      const { ask, engine, parts } = bound(new Asked({ ...options, sequences: 4, passMs: 1 }));
      const scopes = ["one", "one", "two", "two"];
      const answers = await Promise.all(scopes.map((scope) => ask(long, { scope })));
      for (const { ids } of answers) assert.deepEqual(ids, answers[0]!.ids);
      // Each owner's prompt once, the last row of the other answer, and answers but for their last tokens.
      assert.equal(parts.model.rows, 2 * (long.length + 1) + 4 * 3);
      await engine.close();
    });
  }
});

test("checkpoints: side requests leave those of a long conversation where they are", async () => {
  const { ask, engine } = bound(new Asked({ recurrent: 3 }));
  const system = text(2200, 1);
  const talk = prompt(system, Int32Array.of(bos), text(300, 2), Int32Array.of(bos), text(40, 3));
  await ask(talk);
  for (let i = 0; i < 40; i++) await ask(prompt(text(200, 100 + i), Int32Array.of(bos), text(20, i)));
  assert.ok((await ask(talk)).reused >= 2048, "the system prompt is still there");
  await engine.close();
});

function bound(asked: Asked) {
  return { ask: asked.ask.bind(asked), engine: asked.engine, parts: asked.parts, events: asked.events };
}

describe("identical prompts in flight are evaluated once", () => {
  const same = prompt(text(900, 1));
  for (const [name, options] of [
    ["full attention", {}],
    ["a window", { window: 300 }],
    ["a state that is replaced", { recurrent: 16 }],
  ] as const)
    test(name, async () => {
      const { ask, engine, parts } = bound(new Asked({ ...options, sequences: 4, passMs: 1 }));
      const answers = await Promise.all([
        ask(same, { maxTokens: 8 }),
        ask(same, { maxTokens: 8 }),
        ask(same, { maxTokens: 8, temperature: 1, seed: 2 }),
        ask(same, { maxTokens: 8, temperature: 1, seed: 3 }),
      ]);
      const evaluated = parts.model.rows - 4 * 7; // the last token of an answer is not evaluated
      assert.equal(evaluated, same.length + 3, "the last row of each besides");
      const [a, b, c, d] = answers.map(({ ids }) => ids);
      assert.deepEqual(b, a);
      assert.notDeepEqual(c, a);
      assert.notDeepEqual(d, c);
      // One alone, with nothing kept, says the same.
      const alone = bound(new Asked(options));
      assert.deepEqual((await alone.ask(same, { maxTokens: 8, temperature: 1, seed: 3 })).ids, d);
      await Promise.all([engine.close(), alone.engine.close()]);
    });

  test("one that was given up goes on where it was", async () => {
    const asked = new Asked({ passMs: 5 });
    const sampling = { ...defaultSampling, temperature: 0, seed: 1 };
    const request = { kind: "generate", prompt: { kind: "tokens", tokens: same }, sampling } as const;
    const lost = asked.engine.submit(100, { ...request, maxTokens: 4, stop: [], ignoreEos: true }, (event) => {
      if (event.kind === "pass" && event.done >= 256) asked.engine.cancel(100);
    });
    const again = asked.ask(same);
    await assert.rejects(lost, { code: "CANCELLED" });
    await again;
    assert.ok(asked.parts.model.rows <= same.length + 3 + 64, `${asked.parts.model.rows} rows`);
    await asked.engine.close();
  });
});

test("a job says where its prompt leaves what is kept", async () => {
  const { ask, engine, events } = bound(new Asked({ recurrent: 16 }));
  const said = () => events.filter((event) => event.kind === "prefix").at(-1);
  const first = prompt(text(600, 1), Int32Array.of(bos), text(60, 2));
  await ask(first);
  assert.deepEqual(said(), { kind: "prefix", tokens: first.length, reused: 0 });
  const changed = first.slice();
  changed[630] = 65;
  await ask(changed);
  const differs = { at: 630, token: 65, text: "A", lost: first.length + 3 - 630 };
  assert.deepEqual(said(), { kind: "prefix", tokens: first.length, reused: 601, differs });
  await ask(first);
  assert.deepEqual(said(), { kind: "prefix", tokens: first.length, reused: first.length - 1 });
  await engine.close();
});
