/**
 * Generations of a random model under random constraints, with every sampler: each that ended is judged by somebody
 * else, each that was cut must go on to a text that is right.
 */
import { HundredweightError } from "../../src/errors.js";
import { Candidates } from "../../src/sampling/candidates.js";
import { defaultSampling, SamplerChain, type SamplingSettings } from "../../src/sampling/chain.js";
import { Constraints } from "../../src/sampling/constraint/constraint.js";
import type { Automaton, Configuration } from "../../src/sampling/constraint/grammar/automaton.js";
import type { Constraint } from "../../src/sampling/constraint/source.js";
import { Rng } from "../../src/sampling/rng.js";
import { type Dice, diceOf, gbnfOf, judgeJson, randomGrammar, randomSchema, recognizes } from "./random-schema.js";
import { bytesTokenizer, endToken } from "./support.js";

const pieces = [
  '{"',
  '":',
  '", "',
  '"}',
  '": "',
  "name",
  "na",
  "a",
  "aa",
  "é",
  "日本",
  "日",
  " ",
  "\n  ",
  "12",
  "3.",
  "true",
  "null",
  "\\u00",
  '\\"',
  "[[",
  "],",
  "xx",
  "foo",
  "bar",
  "((",
  ")",
  "ab",
];
const tokenizer = bytesTokenizer(pieces);

export interface Outcome {
  generations: number;
  ended: number;
  cut: number;
  /** Those cut where no end was found near, and none was excluded. */
  unknown: number;
  /** Constraints that nothing satisfies, or that were refused as too hard to say. */
  refused: number;
  readonly faults: string[];
}

export function runGenerations(count: number, seed: number, perConstraint = 4): Outcome {
  const outcome: Outcome = { generations: 0, ended: 0, cut: 0, unknown: 0, refused: 0, faults: [] };
  const dice = diceOf(new Rng(seed));
  const constraints = new Constraints(tokenizer);
  while (outcome.generations < count) {
    const { constraint, judge } = randomConstraint(dice);
    let automaton: Automaton;
    try {
      ({ automaton } = constraints.compile(constraint));
    } catch (error) {
      if (!(error instanceof HundredweightError) || error.code !== "OPTION_INVALID") throw error;
      outcome.refused++;
      continue;
    }
    for (let i = 0; i < perConstraint; i++) {
      const { text, ended } = generate(constraints, constraint, dice);
      outcome.generations++;
      const fault = (what: string): void => {
        outcome.faults.push(`${what}: ${JSON.stringify(constraint)} gave ${JSON.stringify(text.toString())}`);
      };
      if (ended) {
        outcome.ended++;
        const wrong = judge(text.toString());
        if (wrong !== undefined) fault(wrong);
      } else {
        outcome.cut++;
        const rest = completion(automaton, text);
        if (rest === "none") fault("cut, and nothing completes it");
        else if (rest === "unknown") outcome.unknown++;
        else {
          const wrong = judge(Buffer.concat([text, rest]).toString());
          if (wrong !== undefined) fault(`cut, and with ${JSON.stringify(rest.toString())} ${wrong}`);
        }
      }
    }
  }
  return outcome;
}

export function randomConstraint(dice: Dice): { constraint: Constraint; judge: (text: string) => string | undefined } {
  if (dice(3) === 0) {
    const rules = randomGrammar(dice);
    const judge = (text: string) => (recognizes(rules, text) ? undefined : "not of the grammar");
    return { constraint: { kind: "gbnf", grammar: gbnfOf(rules) }, judge };
  }
  const schema = randomSchema(dice);
  const order = dice(2) === 0 ? "any" : "declared";
  const closed = dice(2) === 0;
  const constraint: Constraint = { kind: "json_schema", schema, options: { strict: true, order, closed } };
  return { constraint, judge: (text) => judgeJson(schema, text) };
}

export function randomSettings(dice: Dice): SamplingSettings {
  const one = <T>(...values: T[]): T => values[dice(values.length)]!;
  return {
    ...defaultSampling,
    temperature: one(0, 0.7, 1, 2),
    topK: one(0, 1, 5, 40),
    topP: one(1, 0.9, 0.3),
    minP: one(0, 0.05, 0.5),
    typical: one(1, 1, 0.7),
    topNSigma: one(-1, -1, 1),
    xtcProbability: one(0, 0, 0.5),
    dynamicTemperatureRange: one(0, 0, 0.5),
    mirostat: one(0, 0, 0, 1, 2),
    repeatPenalty: one(1, 1.3),
    presencePenalty: one(0, 0.5),
    dryMultiplier: one(0, 0, 0.8),
    logitBias: one<readonly [number, number][]>(
      [],
      [[endToken, -3]],
      [
        [0x22, 2],
        [300, -1],
      ],
    ),
    seed: dice(1 << 30),
  };
}

function generate(constraints: Constraints, constraint: Constraint, dice: Dice): { text: Buffer; ended: boolean } {
  const matcher = constraints.matcher(constraint);
  const limit = 2 + dice(120);
  const vocabulary = { ...tokenizer, addSpacePrefix: false, tokenKind: () => "normal" as const };
  const settings = randomSettings(dice);
  const usable = settings.logitBias.filter(([id]) => id < tokenizer.size);
  const chain = new SamplerChain(
    { ...settings, logitBias: usable },
    new Candidates(tokenizer.size),
    limit + 1,
    vocabulary,
  );
  const row = new Float32Array(tokenizer.size);
  const parts: Uint8Array[] = [];
  for (let n = 0; n < limit; n++) {
    for (let id = 0; id < row.length; id++) row[id] = dice(1000) / 100;
    if (dice(10) === 0) row.fill(-Infinity, 0, 200);
    const allowed = matcher.allowed();
    if (allowed.count === 0) break;
    const id = chain.sample(row, allowed);
    if (id === endToken) return { text: Buffer.concat(parts), ended: true };
    if (!matcher.accept(id)) throw new Error(`token ${id} was allowed and is refused`);
    chain.accept(id);
    parts.push(tokenizer.pieceBytes(id));
    if (matcher.done) return { text: Buffer.concat(parts), ended: true };
  }
  return { text: Buffer.concat(parts), ended: false };
}

const isPlain = (byte: number): boolean => byte >= 0x20 && byte < 0x7f && byte !== 0x5c;
const everyByte = Array.from({ length: 256 }, (_, byte) => byte);

/**
 * The cost of a byte: signs that end something are cheap, so that a short way to an end is found without trying all
 * others.
 */
const costs = Uint8Array.from(everyByte, (byte) => {
  if ('"}]'.includes(String.fromCharCode(byte))) return 1;
  return isPlain(byte) ? (/[01:,anltfu)]/.test(String.fromCharCode(byte)) ? 2 : 3) : 4;
});

/** Configurations looked at before the search for an end is given up. */
const patience = 5_000;

/** Finds a text that completes one, cheapest first; `none` when there is none, `unknown` when none is near. */
export function completion(automaton: Automaton, text: Uint8Array): Buffer | "none" | "unknown" {
  let start: Configuration = automaton.start;
  for (const byte of text) start = automaton.configuration(automaton.step(start, byte));
  const from = new Map<number, { readonly before: number; readonly byte: number }>();
  const seen = new Set<number>();
  const levels: number[][] = [[start.number]];
  for (let cost = 0; cost < levels.length; cost++) {
    for (const number of levels[cost] ?? []) {
      if (seen.has(number)) continue;
      if (seen.size > patience) return "unknown";
      seen.add(number);
      const at = automaton.configuration(number);
      if (at.accepts) {
        const bytes: number[] = [];
        for (let n = number; n !== start.number; n = from.get(n)!.before) bytes.push(from.get(n)!.byte);
        return Buffer.from(bytes.reverse());
      }
      for (const byte of everyByte) {
        const to = automaton.step(at, byte);
        if (to < 0 || seen.has(to) || from.has(to)) continue;
        from.set(to, { before: number, byte });
        const level = cost + costs[byte]!;
        levels[level] ??= [];
        levels[level].push(to);
      }
    }
  }
  return "none";
}
