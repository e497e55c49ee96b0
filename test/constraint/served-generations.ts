/**
 * Generations as a server makes them: eight sequences at a time in the same passes, with stop texts, penalties and
 * every sampler, of the bundled model, which knows nothing of schemas. Judged as those of `random-generations.ts`.
 */
import { HundredweightError } from "../../src/errors.js";
import { Constraints } from "../../src/sampling/constraint/constraint.js";
import { Rng } from "../../src/sampling/rng.js";
import { demoModel, postJson, serveForTests } from "../server/support.js";
import { completion, type Outcome, randomConstraint, randomSettings } from "./random-generations.js";
import { diceOf } from "./random-schema.js";
import { bytesTokenizer } from "./support.js";

interface Answer {
  readonly choices: readonly { readonly text: string; readonly finish_reason: string }[];
}

/** Answers that are made at the same time. */
const atOnce = 8;

export async function runServed(count: number, seed: number): Promise<Outcome & { stopped: number }> {
  const server = await serveForTests({ modelPath: demoModel, engine: { sequences: atOnce } });
  const outcome = { generations: 0, ended: 0, stopped: 0, cut: 0, unknown: 0, refused: 0, faults: [] as string[] };
  const dice = diceOf(new Rng(seed));
  const constraints = new Constraints(bytesTokenizer([]));
  const one = async (): Promise<void> => {
    const { constraint, judge } = randomConstraint(dice);
    const asked = fieldsOf(constraint);
    const sampling = samplingFields(randomSettings(dice));
    const stop = dice(3) === 0 ? [["7", "a", "}", '"', "e"][dice(5)]!] : undefined;
    const how = { ...sampling, stop, n: 1 + dice(2), max_tokens: 2 + dice(60) };
    const response = await postJson(`${server.url}/v1/completions`, { prompt: "Once", ...asked, ...how });
    if (!response.ok) {
      const text = await response.text();
      if (response.status !== 400) outcome.faults.push(`${response.status}: ${text}`);
      outcome.refused++;
      return;
    }
    for (const { text, finish_reason: reason } of ((await response.json()) as Answer).choices) {
      outcome.generations++;
      const wrong = judge(text);
      const fault = (what: string): void => {
        outcome.faults.push(`${what}: ${JSON.stringify({ ...asked, ...how })} gave ${JSON.stringify(text)}`);
      };
      if (wrong === undefined && reason === "stop") outcome.ended++;
      else if (reason === "stop" && stop === undefined) fault(wrong!);
      else {
        if (reason === "stop") outcome.stopped++;
        else outcome.cut++;
        // What was cut inside of a character ends before it.
        const known = text.replace(/\ufffd+$/, "");
        const rest = completionOf(constraints, constraint, known);
        if (rest === "unknown") outcome.unknown++;
        else if (rest === "none") fault("cut, and nothing completes it");
        else {
          const still = judge(known + rest);
          if (still !== undefined) fault(`cut, and with ${JSON.stringify(rest)} ${still}`);
        }
      }
    }
  };
  try {
    while (outcome.generations < count) await Promise.all(Array.from({ length: atOnce }, one));
  } finally {
    await server.stop();
  }
  return outcome;
}

type Asked = ReturnType<typeof randomConstraint>["constraint"];

function fieldsOf(constraint: Asked): object {
  if (constraint.kind === "gbnf") return { grammar: constraint.grammar };
  if (constraint.kind !== "json_schema") throw new Error(constraint.kind);
  const json_schema = { name: "any", schema: constraint.schema, strict: true };
  return { response_format: { type: "json_schema", json_schema } };
}

function samplingFields(settings: ReturnType<typeof randomSettings>): object {
  return {
    temperature: settings.temperature,
    top_k: settings.topK,
    top_p: settings.topP,
    min_p: settings.minP,
    typical_p: settings.typical,
    top_n_sigma: settings.topNSigma,
    xtc_probability: settings.xtcProbability,
    dynatemp_range: settings.dynamicTemperatureRange,
    mirostat: settings.mirostat,
    repeat_penalty: settings.repeatPenalty,
    presence_penalty: settings.presencePenalty,
    dry_multiplier: settings.dryMultiplier,
    seed: settings.seed,
  };
}

/** Finds a text that completes one. */
function completionOf(constraints: Constraints, constraint: Asked, text: string): string {
  const { automaton } = constraints.compile(
    constraint.kind === "json_schema" ? { ...constraint, options: { strict: true } } : constraint,
  );
  try {
    const rest = completion(automaton, Buffer.from(text));
    return typeof rest === "string" ? rest : rest.toString();
  } catch (error) {
    if (error instanceof HundredweightError) return "unknown";
    throw error;
  }
}
