/**
 * Answers to the prompts of a case through the engine: alone, or with jobs that come, pause, are cancelled and share
 * pages.
 */
import { dirname } from "node:path";
import { setImmediate as turn } from "node:timers/promises";
import { openCheckpoint } from "../../src/containers/index.js";
import { Engine } from "../../src/engine/engine.js";
import type { EngineParts } from "../../src/engine/parts.js";
import type { GenerateRequest, GenerateResult } from "../../src/link/protocol.js";
import { describeModel, guessingBlocks } from "../../src/models/index.js";
import { defaultSampling } from "../../src/sampling/chain.js";
import type { Constraint } from "../../src/sampling/constraint/source.js";
import { seededWords } from "../../src/synth/random.js";
import { createTokenizer } from "../../src/tokenizer/index.js";
import { leastKvMemory } from "../support/cold-memory.js";
import { fakeParts } from "../support/fake-model.js";
import { bindPlaced, placements } from "../support/placements.js";
import { type Case, chunkSizes, type Way } from "./cases.js";

const contextTokens = 640;
const maxTokens = 8;

/** Token ids of every answer. */
export type Answers = readonly (readonly number[])[];

interface Shape {
  readonly sequences: number;
  readonly kvTokens: number;
  readonly chunkRows: number;
  /** As few pages in memory as can be. */
  readonly cold?: boolean;
  /** Blocks of the file guess. */
  readonly blocks?: boolean;
}

async function withEngine<T>(
  path: string,
  c: Case,
  way: Way,
  shape: Shape,
  words: () => number,
  use: (engine: Engine) => Promise<T>,
  guessed = false,
): Promise<T> {
  const { sequences, kvTokens, chunkRows, cold = false } = shape;
  const plain = { contextTokens, kvTokens, maxRows: chunkRows, sequences, kvType: c.kvType };
  const maxLogitRows = Math.min(way.logitRows, chunkRows);
  const checkpoint = await openCheckpoint(path);
  const description = describeModel(checkpoint);
  const least = { ...plain, maxLogitRows };
  const kvMemory = cold ? leastKvMemory(description, least, dirname(path)) : undefined;
  const options = { ...plain, ...(kvMemory !== undefined && { kvMemory }) };
  const tokenizer = createTokenizer(checkpoint.metadata);
  // The file's own blocks guess where it has some, but not in the engines that all others are compared with.
  const programs = shape.blocks === true ? guessingBlocks(description) : [];
  const model = await bindPlaced(description, way, { ...options, programs, maxLogitRows }, (n) => words() % n);
  const { vocab, dim } = model.config;
  const carries = description.program.outputs.carried === undefined ? "hidden" : "carried";
  const blocks = programs.map((name) => model.programs.get(name)!);
  const { info, ...rest } = fakeParts();
  const parts: EngineParts = {
    ...rest,
    tokenizer,
    info: { ...info, vocab, dim, contextTokens, chunkRows },
    model: { ...model, ...(blocks.length > 0 && { blocks, carries }) },
    sequences,
  };
  if (guessed && model.slots === undefined && blocks.length === 0) {
    // The model guesses for itself: rightly, but where sampling takes another token.
    const small = await bindPlaced(description, way, { ...options, maxLogitRows }, (n) => words() % n);
    const engine = new Engine({ ...parts, draftModel: { ...parts, model: small } });
    return use(engine).finally(() => engine.close());
  }
  const engine = new Engine(parts);
  try {
    return await use(engine);
  } finally {
    await engine.close();
  }
}

/** An answer without any guesses: what all others are compared with. */
function requestOf(c: Case, s: number): GenerateRequest {
  const tokens = c.prompts[s]!;
  // Greedy, plain and with everything that looks back.
  const sampling = [
    { temperature: 0 },
    { temperature: 1.5, topK: 0, topP: 1, minP: 0 },
    { temperature: 0.9, repeatPenalty: 1.3, presencePenalty: 0.4, penaltyLastTokens: -1 },
  ][s % 3]!;
  return {
    kind: "generate",
    prompt: { kind: "tokens", tokens },
    sampling: { ...defaultSampling, seed: c.seed + s, ...sampling },
    maxTokens: constrained(c, s) ? constrainedTokens : maxTokens,
    stop: [],
    ignoreEos: true,
    drafts: "off",
    ...(constrained(c, s) && { constraint: { kind: "json_schema", schema } }),
  };
}

/** Values that are chosen, and text that has to come: that is offered as drafts, several tokens a pass. */
const schema = {
  type: "object",
  properties: {
    kind: { const: "a text that has to come" },
    list: { type: "array", items: { enum: [1, 22, true, "x"] }, minItems: 2, maxItems: 4 },
    name: { type: "string", maxLength: 6 },
  },
  required: ["kind", "list"],
};
const constrainedTokens = 40;
/** Words without an end. */
const endless: Constraint = { kind: "regex", pattern: "([a-z ]{2,9}[,;.])*" };

/** One prompt of each case has to be answered by a schema. */
function constrained(c: Case, s: number): boolean {
  return c.seed % c.prompts.length === s;
}

async function answer(
  engine: Engine,
  id: number,
  request: GenerateRequest,
  onResult: (result: GenerateResult) => void = () => {},
): Promise<number[]> {
  const ids: number[] = [];
  const result = await engine.submit(id, request, (event) => {
    if (event.kind === "token") ids.push(event.id);
  });
  if (result.kind === "generate") onResult(result);
  return ids;
}

/** Every prompt by an engine of its own that never saw another, in one thread, the file mapped. */
export async function answersAlone(path: string, c: Case, isa: string): Promise<Answers> {
  const way: Way = { isa, threads: 1, chunk: 600, batched: false, logitRows: 1, placement: placements[0]! };
  const shape = { sequences: 1, kvTokens: contextTokens, chunkRows: 600 };
  const answers: number[][] = [];
  for (const s of c.prompts.keys())
    answers.push(
      await withEngine(
        path,
        c,
        way,
        shape,
        () => 0,
        (engine) => answer(engine, 1, requestOf(c, s)),
      ),
    );
  return answers;
}

/**
 * Guesses ahead of it, few or many: look-ups alone, or with a prediction that is the answer but for tokens here and
 * there.
 */
function guessed(request: GenerateRequest, answer: readonly number[], below: (n: number) => number): GenerateRequest {
  const drafts = (["auto", 1, 3, 16, 31] as const)[below(5)]!;
  const wrong = 2 + below(12);
  const prediction = answer.map((id) => (below(wrong) === 0 ? (id + 1) % 256 : id));
  return { ...request, drafts, ...(below(4) > 0 && { prediction }) };
}

/** Every prompt twice, in one engine. @param expected the answers without guesses */
export async function answersServed(
  path: string,
  c: Case,
  way: Way,
  index: number,
  expected: Answers,
): Promise<{ readonly answers: Answers; readonly right: number; readonly wrong: number; readonly ofBlocks: number }> {
  const words = seededWords(c.seed, `serve ${index}`);
  const below = (n: number): number => words() % n;
  const chunkRows = way.chunk === "random" ? chunkSizes[below(chunkSizes.length)]! : way.chunk;
  // One context is the least; pages for all of them the most.
  const shape = { sequences: 1 + below(5), kvTokens: contextTokens * (1 + below(3)), chunkRows, blocks: true };
  let [right, wrong, ofBlocks] = [0, 0, 0];
  const count = ({ drafts = {} }: GenerateResult): void => {
    ofBlocks += drafts.mtp?.tried ?? 0;
    for (const { tried, right: good } of Object.values(drafts)) {
      right += good;
      wrong += tried - good;
    }
  };
  const serve = async (engine: Engine): Promise<number[][]> => {
    let id = 0;
    const running: Promise<number[]>[] = [];
    for (const s of [...c.prompts.keys(), ...c.prompts.keys()]) {
      const job = ++id;
      running.push(answer(engine, job, guessed(requestOf(c, s), expected[s]!, below), count));
      if (below(3) === 0) {
        const victim = ++id;
        answer(engine, victim, requestOf(c, below(c.prompts.length))).catch(() => {});
        void later(below(6), () => engine.cancel(victim));
      }
      if (below(3) === 0) {
        engine.pause(job);
        void later(below(12), () => engine.resume(job));
      }
      await later(below(6), () => {});
    }
    return Promise.all(running);
  };
  const answers = await withEngine(path, c, way, shape, words, serve, below(2) === 0);
  return { answers, right, wrong, ofBlocks };
}

async function later(turns: number, act: () => void): Promise<void> {
  for (let i = 0; i < turns; i++) await turn();
  act();
}

/**
 * Three answers of as many tokens as the context holds, three pages each: each by an engine of its own, or all in one
 * that has six pages.
 */
export async function longAnswers(
  path: string,
  c: Case,
  way: Way,
  together: boolean,
): Promise<{ readonly answers: Answers; readonly sentBack: number }> {
  const prompts = [0, 1, 2].map((s) => Int32Array.from({ length: 40 + 10 * s }, (_, i) => (7 * i + s) % 256));
  const shape = { sequences: together ? 3 : 1, kvTokens: contextTokens, chunkRows: 64, blocks: together };
  const make = (s: number, engine: Engine): Promise<number[]> => {
    const { constraint: _, ...request } = requestOf({ ...c, prompts }, s);
    return answer(engine, s + 1, { ...request, maxTokens: -1, ...(s === 1 && { constraint: endless }) });
  };
  const inEngine = <T>(use: (engine: Engine) => Promise<T>): Promise<T> =>
    withEngine(path, c, way, shape, () => 0, use);
  if (together)
    return inEngine(async (engine) => {
      const answers = await Promise.all(prompts.map((_, s) => make(s, engine)));
      let sentBack = 0;
      engine
        .submit(99, { kind: "watch" }, (event) => {
          if (event.kind === "status") sentBack = event.status.preemptions;
        })
        .catch(() => {});
      engine.cancel(99);
      return { answers, sentBack };
    });
  const answers: number[][] = [];
  for (const s of prompts.keys()) answers.push(await inEngine((engine) => make(s, engine)));
  return { answers, sentBack: 0 };
}

/**
 * Answers that go on behind their context by a shift: each by an engine of its own, or all in one that has pages for
 * two of them, few of which are in memory, and guesses.
 */
export async function shiftedAnswers(path: string, c: Case, way: Way, together: boolean): Promise<Answers> {
  const prompts = [0, 1, 2].map((s) => Int32Array.from({ length: 30 + 10 * s }, (_, i) => (7 * i + s) % 256));
  const kvTokens = (together ? 2 : 1) * contextTokens;
  const shape = {
    sequences: together ? 3 : 1,
    kvTokens,
    chunkRows: together ? 40 : 64,
    cold: together,
    blocks: together,
  };
  const make = (s: number, engine: Engine): Promise<number[]> => {
    const { constraint: _, ...request } = requestOf({ ...c, prompts }, s);
    const whenFull = { how: "shift", keep: [40, 0, 300][s]! } as const;
    const most = s === 0 ? 900 : 660;
    return answer(engine, s + 1, { ...request, maxTokens: most, whenFull, drafts: together ? 2 : "off" });
  };
  const words = seededWords(c.seed, "shifted");
  const inEngine = <T>(use: (engine: Engine) => Promise<T>): Promise<T> => withEngine(path, c, way, shape, words, use);
  if (together) return inEngine((engine) => Promise.all(prompts.map((_, s) => make(s, engine))));
  const answers: number[][] = [];
  for (const s of prompts.keys()) answers.push(await inEngine((engine) => make(s, engine)));
  return answers;
}
