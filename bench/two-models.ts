/**
 * Do two models in one process keep one budget and share their threads? Opens both under one budget (the second plans
 * with what the first was not promised), lets each answer alone and then both at once, and looks at what the process
 * was charged and which threads it has. Exit code 1 when a promise is broken.
 *
 *   hundredweight synth llama-1b small.gguf && hundredweight synth llama-3-8b large.gguf
 *   node dist/bench/two-models.js small.gguf large.gguf [--memory 4GiB] [-n 24] [--threads N] [--json FILE]
 *
 * Peak charge: the most bytes the addon ever held for both (weights, ring, slots, KV, activations, scratch). Resident:
 * of the whole process, V8 and page cache of others apart, the most it ever was.
 */
import { readdirSync, readFileSync } from "node:fs";
import { parseBytes } from "../src/cli/options/options.js";
import { type LoadOptions, load, type Model } from "../src/library/model.js";
import { readArguments, saveJson } from "./support/program.js";

const { values, paths } = readArguments("two-models SMALL LARGE [--memory 4GiB] [-n 24]", {
  memory: { type: "string", default: "4GiB" },
  tokens: { type: "string", short: "n", default: "24" },
  threads: { type: "string" },
  json: { type: "string" },
});
const [small, large] = paths;
if (small === undefined || large === undefined) throw new Error("two models are needed");
const budget = parseBytes(values.memory, "--memory");
const maxTokens = Number(values.tokens);
const options: LoadOptions = {
  contextTokens: 1024,
  memoryBytes: budget,
  memoryOf: "process",
  io: "direct",
  ...(values.threads !== undefined && { threads: Number(values.threads) }),
};
const faults: string[] = [];
const check = (holds: boolean, what: string): void => {
  if (!holds) faults.push(what);
};

/** Threads of this process by their name; 0 where the system does not tell. */
function computeThreads(): number {
  try {
    const names = readdirSync("/proc/self/task").map((id) => readFileSync(`/proc/self/task/${id}/comm`, "utf8").trim());
    return names.filter((name) => name === "hundredweight").length;
  } catch {
    return 0;
  }
}

interface Answer {
  readonly tokens: readonly number[];
  readonly msPerToken: number;
}

async function answer(model: Model): Promise<Answer> {
  const prompt = Array.from({ length: 32 }, (_, i) => 100 + 7 * i);
  const generation = model.generate(prompt, { maxTokens, ignoreEos: true, temperature: 0 });
  for await (const _ of generation);
  const { tokens, timings } = await generation.result();
  return { tokens, msPerToken: 1000 / timings.decodeTps };
}

const opened: Model[] = [];
for (const path of [small, large]) opened.push(await load(path, options));
const alone: Answer[] = [];
for (const model of opened) alone.push(await answer(model));
const together = await Promise.all(opened.map(answer));

const uses = await Promise.all(opened.map((model) => model.memory()));
const machine = uses[0]!.machine;
if (machine === undefined) throw new Error("this needs the native addon");
const threads = computeThreads();
const models = opened.map(({ info: { residency } }, i) => ({
  strategy: residency.strategy,
  plannedBytes: residency.plannedBytes ?? 0,
  aloneMs: alone[i]!.msPerToken,
  togetherMs: together[i]!.msPerToken,
}));
const planned = models.reduce((sum, { plannedBytes }) => sum + plannedBytes, 0);
for (const [i, { tokens }] of together.entries())
  check(tokens.join() === alone[i]!.tokens.join(), `model ${i + 1} answers otherwise beside the other`);
check(machine.peakBytes <= budget, `charged ${machine.peakBytes} bytes of ${budget}`);
check(planned <= budget && machine.promisedBytes === planned, `promised ${machine.promisedBytes}, planned ${planned}`);
check(machine.models === 2, `${machine.models} models share the threads`);
check(threads === 0 || threads === machine.threads - 1, `${threads} compute threads beside the engines' own`);
const resident = process.resourceUsage().maxRSS * 1024;
check(resident <= budget, `resident ${resident} bytes of ${budget}`);
for (const model of opened) await model.close();

const gibibytes = (bytes: number): string => `${(bytes / 2 ** 30).toFixed(2)} GiB`;
for (const [i, m] of models.entries())
  console.log(
    `model ${i + 1}: ${m.strategy}, planned ${gibibytes(m.plannedBytes)}; ` +
      `${m.aloneMs.toFixed(1)} ms a token alone, ${m.togetherMs.toFixed(1)} beside the other`,
  );
console.log(
  `budget ${gibibytes(budget)}: promised ${gibibytes(planned)}, peak charge ${gibibytes(machine.peakBytes)}, ` +
    `resident at most ${gibibytes(resident)}; ${machine.threads} threads for ${machine.models} models`,
);
saveJson(values.json, {
  budget,
  planned,
  peakBytes: machine.peakBytes,
  resident,
  threads: machine.threads,
  models,
  faults,
});
for (const fault of faults) console.log(`BROKEN: ${fault}`);
process.exitCode = faults.length > 0 ? 1 : 0;
