/** An answer that was cut and goes on has the tokens of one that never was, whatever it is drawn by. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { fakeParts } from "../../test/support/fake-model.js";
import { EngineClient } from "../link/client.js";
import { defaultSampling } from "../sampling/chain.js";
import type { GenerateRequest, SamplerState } from "./jobs.js";

interface Made {
  readonly ids: number[];
  readonly texts: string[];
  readonly states: SamplerState[];
  readonly resumed: string[];
}

async function make(client: EngineClient, request: GenerateRequest): Promise<Made> {
  const made: Made = { ids: [], texts: [], states: [], resumed: [] };
  await client.submit(request, (event) => {
    if (event.kind === "resumed") made.resumed.push(...event.texts);
    if (event.kind !== "token") return;
    made.ids.push(event.id);
    made.texts.push(event.text);
    if (event.sampler !== undefined) made.states.push(event.sampler);
  }).result;
  return made;
}

test("the same tokens and texts from any place on", async () => {
  const client = await EngineClient.open("fake", {}, async () => fakeParts({ sequences: 2 }));
  const settings = fc.record({
    seed: fc.nat(),
    temperature: fc.constantFrom(0, 0.7, 1.5),
    topK: fc.constantFrom(0, 20),
    xtcProbability: fc.constantFrom(0, 0.5),
    repeatPenalty: fc.constantFrom(1, 1.3),
    dryMultiplier: fc.constantFrom(0, 0.8),
    mirostat: fc.constantFrom(0, 1, 2),
  });
  const constraints = fc.constantFrom(undefined, { kind: "regex", pattern: "[a-z ]{40,60}" } as const);
  try {
    await fc.assert(
      fc.asyncProperty(settings, constraints, fc.double({ min: 0, max: 1, noNaN: true }), async (change, held, at) => {
        const asked: GenerateRequest = {
          kind: "generate",
          prompt: { kind: "text", text: "hello" },
          sampling: { ...defaultSampling, ...change },
          maxTokens: 40,
          stop: [],
          ignoreEos: held === undefined,
          resumable: true,
          ...(held !== undefined && { constraint: held }),
        };
        const whole = await make(client, asked);
        assert.equal(whole.states.length, whole.ids.length);
        const cut = 1 + Math.floor(at * (whole.ids.length - 2));
        const prompt = Int32Array.of(257, ...Buffer.from("hello"), ...whole.ids.slice(0, cut));
        const rest = await make(client, {
          ...asked,
          prompt: { kind: "tokens", tokens: prompt },
          maxTokens: 40 - cut,
          resume: { tokens: cut, sampler: whole.states[cut - 1]! },
        });
        assert.deepEqual(rest.ids, whole.ids.slice(cut));
        assert.deepEqual(rest.texts, whole.texts.slice(cut));
        assert.deepEqual(rest.resumed, whole.texts.slice(0, cut));
        assert.deepEqual(rest.states.at(-1), whole.states.at(-1));
      }),
      { numRuns: 60 },
    );
  } finally {
    await client.close();
  }
});

test("what cannot be an answer's beginning is refused", async () => {
  const client = await EngineClient.open("fake", {}, async () => fakeParts());
  const sampler = { random: [1, 2, 3, 4] } as const;
  const asked = (tokens: number, constraint?: GenerateRequest["constraint"]): GenerateRequest => ({
    kind: "generate",
    prompt: { kind: "text", text: "hello" },
    sampling: { ...defaultSampling, seed: 1 },
    maxTokens: 4,
    stop: [],
    ignoreEos: true,
    resume: { tokens, sampler },
    ...(constraint && { constraint }),
  });
  try {
    for (const tokens of [-1, 0.5, 6, 100])
      await assert.rejects(make(client, asked(tokens)), { code: "OPTION_INVALID" });
    const digits = { kind: "regex", pattern: "[0-9]+" } as const;
    await assert.rejects(make(client, asked(3, digits)), { code: "OPTION_INVALID", message: /refuses/ });
  } finally {
    await client.close();
  }
});
