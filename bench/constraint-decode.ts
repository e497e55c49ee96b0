/**
 * Measures the cost of a constraint: decode with a JSON schema against decode without, in alternating pairs on one
 * engine, greedy, the same prompt. The schema is a list of objects that never has to end, so that both sides make the
 * same number of tokens.
 *
 *   node dist/bench/constraint-decode.js MODEL [--pairs 20] [-n 96] [--threads N] [--least 0.95]
 *
 * Prints each pair, the median of with / without in tokens a second and its 95 % interval. Exit code 1: its lower end
 * is below --least.
 */

import { load } from "../src/library/model.js";
import type { Constraint } from "../src/sampling/constraint/source.js";
import { ratioInterval } from "./support/pairs.js";
import { readArguments } from "./support/program.js";

const { values, path } = readArguments("constraint-decode MODEL [--pairs 20] [-n 96] [--threads N] [--least 0.95]", {
  pairs: { type: "string", default: "20" },
  decode: { type: "string", short: "n", default: "96" },
  threads: { type: "string" },
  least: { type: "string", default: "0.95" },
});
const decode = Number(values.decode);

const person = {
  type: "object",
  properties: {
    name: { type: "string", minLength: 3, maxLength: 60 },
    age: { type: "integer", minimum: 0, maximum: 120 },
    email: { type: "string", format: "email" },
    tags: { type: "array", items: { enum: ["new", "active", "gone"] }, maxItems: 3 },
    address: {
      type: "object",
      properties: { city: { type: "string" }, zip: { type: "string", pattern: "^[0-9]{5}$" } },
      required: ["city", "zip"],
    },
  },
  required: ["name", "age", "email", "address"],
};
const constraint: Constraint = {
  kind: "json_schema",
  schema: { type: "array", items: person, minItems: 1000 },
};

const threads = values.threads === undefined ? {} : { threads: Number(values.threads) };
const model = await load(path, { contextTokens: 512, ...threads });
try {
  const prompt = "A list of people as JSON, each with name, age, email, tags and address:\n";
  const rate = async (side: "with" | "without"): Promise<number> => {
    const options = { maxTokens: decode, temperature: 0, ignoreEos: true, seed: 1 };
    const answer = model.generate(prompt, side === "with" ? { ...options, constraint } : options);
    const { timings, tokens } = await answer.result();
    if (tokens.length !== decode) throw new Error(`${side}: ${tokens.length} tokens instead of ${decode}`);
    return timings.decodeTps;
  };
  await rate("with");
  await rate("without");
  const ratios: number[] = [];
  for (let pair = 0; pair < Number(values.pairs); pair++) {
    const order = pair % 2 === 0 ? (["with", "without"] as const) : (["without", "with"] as const);
    const rates = { with: 0, without: 0 };
    for (const side of order) rates[side] = await rate(side);
    ratios.push(rates.with / rates.without);
    const shown = `${rates.without.toFixed(1)} tok/s without, ${rates.with.toFixed(1)} with`;
    console.log(`${String(pair + 1).padStart(3)}: ${shown} (${ratios.at(-1)!.toFixed(3)})`);
  }
  const { median, low, high } = ratioInterval(ratios);
  console.log(`${median.toFixed(3)} of the rate without, 95 % interval ${low.toFixed(3)} to ${high.toFixed(3)}`);
  if (low < Number(values.least)) process.exitCode = 1;
} finally {
  await model.close();
}
