/**
 * How well a model works with tools: a scripted agent of 30 turns, each of which wants a tool. Prints each call and
 * answer, then how many turns called a tool, and how many the one that was meant.
 *
 *   node dist/bench/agent.js MODEL.gguf [--turns 30] [--must] [--ctx 16384] [--temperature 0] [--json FILE]
 *
 * --must: the first answer of each turn has to be a call.
 */
import { load } from "../src/library/model.js";
import { runAgent } from "./support/agent.js";
import { readArguments, saveJson } from "./support/program.js";

const { values, paths } = readArguments("agent MODEL.gguf [--turns 30] [--must] [--ctx 16384] [--temperature 0]", {
  turns: { type: "string", default: "30" },
  must: { type: "boolean", default: false },
  ctx: { type: "string", default: "16384" },
  temperature: { type: "string", default: "0" },
  json: { type: "string" },
});

const model = await load(paths[0]!, { contextTokens: Number(values.ctx), text: "process", stays: true });
try {
  const report = await runAgent(model, {
    turns: Number(values.turns),
    mustCall: values.must === true,
    maxTokens: 400,
    temperature: Number(values.temperature),
    onStep: (line) => console.log(line),
  });
  const { turns, called, meant, calls, broken, seconds } = report;
  console.log(
    `${turns} turns: ${called} called a tool, ${meant} the one that was meant; ${calls} calls, ${broken} broken; ` +
      `${seconds.toFixed(0)} s`,
  );
  saveJson(values.json, report);
} finally {
  await model.close();
}
