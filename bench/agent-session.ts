/**
 * How much of its prompts does an agent's session evaluate twice? A random tiny model of 40k context with a chat
 * template as agents meet them; 20k tokens of system prompt and tools, 30 turns with calls, side requests, a header
 * that changes.
 *   node dist/bench/agent-session.js [llama|qwen35 ...] [--turns 30] [--system 20000] [--key KEY]
 * --key: the server has two keys, and the agent comes with one of them.
 * Exit code 1 when 1 % of the sum of all prompts or more was evaluated again.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startServer } from "../src/server/index.js";
import { agentSession, writeAgentModel } from "../test/server/agent-session.js";
import { readArguments } from "./support/program.js";

const usage = "agent-session [llama|qwen35 ...] [--turns 30] [--system 20000] [--key KEY]";
const options = {
  turns: { type: "string", default: "30" },
  system: { type: "string", default: "20000" },
  key: { type: "string" },
} as const;
const { values, paths } = readArguments(usage, options, 0);
const folder = mkdtempSync(join(tmpdir(), "hundredweight-session-"));
try {
  const { key } = values;
  const config = { port: 0, ...(key !== undefined && { apiKeys: [key, `${key}-of-others`] }) };
  for (const arch of paths.length > 0 ? paths : ["llama", "qwen35"]) {
    const modelPath = join(folder, `${arch}.gguf`);
    const contextTokens = 40_960;
    await writeAgentModel(modelPath, arch, contextTokens);
    const server = await startServer({ modelPath, config, engine: { contextTokens, sequences: 2 } });
    await server.loaded;
    const began = performance.now();
    const report = await agentSession({
      url: server.url,
      key,
      turns: Number(values.turns),
      systemLength: Number(values.system),
      resultLength: 600,
      onTurn: (line) => console.log(line),
    });
    await server.stop(0);
    const { requests, promptTokens, longestPrompt, evaluatedTokens, againTokens, calls } = report;
    const share = againTokens / promptTokens;
    const seconds = ((performance.now() - began) / 1000).toFixed(0);
    console.log(
      `${arch}: ${requests} requests with ${calls} calls, ${promptTokens} tokens of prompts (the longest ` +
        `${longestPrompt}), ${evaluatedTokens} evaluated, ${againTokens} of them again: ` +
        `${(100 * share).toFixed(3)} %; ${seconds} s`,
    );
    if (share >= 0.01) process.exitCode = 1;
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
