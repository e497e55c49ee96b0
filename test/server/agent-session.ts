/**
 * An agent's session as clients of that kind have it: a long system prompt with tools, a call and its result in every
 * turn, a billing header that changes with every request, and side requests: titles of the talk, probes. Counts the
 * tokens that were evaluated although they had been before.
 */
import { agentTokenizer } from "../support/agent-template.js";
import { writeRandomModel } from "../support/random-model.js";

export interface SessionOptions {
  /** Where the server is. */
  readonly url: string;
  /** Sent with every request; absent: none. */
  readonly key?: string | undefined;
  readonly turns: number;
  /** Characters of the system prompt; of the tools about half as many. */
  readonly systemLength: number;
  /** Characters of a tool's result. */
  readonly resultLength: number;
  readonly onTurn?: (line: string) => void;
}

export interface SessionReport {
  readonly requests: number;
  /** Tokens of all prompts, and of the longest. */
  readonly promptTokens: number;
  readonly longestPrompt: number;
  readonly evaluatedTokens: number;
  /** Tokens of prompts that had been evaluated before, or were made as an answer, and were evaluated again. */
  readonly againTokens: number;
  /** Calls that the model made. */
  readonly calls: number;
}

/** A random model that knows the marks of the agent's template. */
export async function writeAgentModel(path: string, arch: string, contextTokens: number): Promise<void> {
  await writeRandomModel(path, {
    arch,
    variant: "dense",
    dims: 64,
    types: {},
    seed: 11,
    tokenizer: agentTokenizer(),
    overrides: { context_length: contextTokens },
  });
}

interface Asked {
  readonly messages: readonly object[];
  readonly tools?: readonly object[];
  readonly max_tokens?: number;
  readonly tool_choice?: string;
  readonly seed: number;
}

interface Answer {
  readonly message: { readonly content: string | null; readonly tool_calls?: readonly { readonly id: string }[] };
  readonly promptTokens: number;
  readonly cachedTokens: number;
  readonly madeTokens: number;
}

export async function agentSession(options: SessionOptions): Promise<SessionReport> {
  const { url, key, turns, systemLength, resultLength, onTurn = () => {} } = options;
  const report = { requests: 0, promptTokens: 0, longestPrompt: 0, evaluatedTokens: 0, againTokens: 0, calls: 0 };
  const ask = async (asked: Asked): Promise<Answer> => {
    const answer = await answerOf(url, key, asked);
    report.requests++;
    report.promptTokens += answer.promptTokens;
    report.longestPrompt = Math.max(report.longestPrompt, answer.promptTokens);
    report.evaluatedTokens += answer.promptTokens - answer.cachedTokens;
    return answer;
  };
  const tools = toolsOf(systemLength / 2);
  const system = prose(systemLength, 1);
  const talk: object[] = [{ role: "user", content: "Look through the files and mend what is broken." }];
  let past = 0;
  for (let turn = 0; turn < turns; turn++) {
    const cch = (turn * 7919).toString(16).padStart(5, "0");
    const header = `x-anthropic-billing-header: cc_version=2.1.37.fbe; cc_entrypoint=cli; cch=${cch};`;
    const messages = [{ role: "system", content: `${header}\n${system}` }, ...talk];
    // Now and then an answer without a call, and the next thing that the user wants.
    const talks = turn % 10 === 9;
    const answer = await ask({
      messages,
      tools,
      seed: turn,
      max_tokens: 400,
      tool_choice: talks ? "auto" : "required",
      ...(talks && { max_tokens: 20 }),
    });
    // The last token of an answer is not evaluated.
    const again = Math.max(0, past - answer.cachedTokens);
    report.againTokens += again;
    past = answer.promptTokens + answer.madeTokens - 1;
    const calls = answer.message.tool_calls ?? [];
    report.calls += calls.length;
    onTurn(
      `turn ${turn + 1}: ${answer.promptTokens} tokens, ${answer.cachedTokens} were there, ${again} are read again`,
    );
    talk.push({ role: "assistant", ...answer.message });
    for (const { id } of calls) talk.push({ role: "tool", tool_call_id: id, content: prose(resultLength, 100 + turn) });
    if (calls.length === 0) talk.push({ role: "user", content: `Go on with part ${turn}.` });
    if (turn % 3 === 1) await sideRequests(ask, talk, turn);
  }
  return report;
}

async function sideRequests(ask: (asked: Asked) => Promise<Answer>, talk: readonly object[], turn: number) {
  const summary = JSON.stringify(talk.slice(-2)).slice(0, 1500);
  const title = [
    { role: "system", content: "Write a title of at most five words for the conversation." },
    { role: "user", content: summary },
  ];
  await Promise.all([
    ask({ messages: title, seed: turn, max_tokens: 12 }),
    ask({ messages: [{ role: "user", content: "quota" }], seed: turn, max_tokens: 1 }),
  ]);
}

async function answerOf(url: string, key: string | undefined, asked: Asked): Promise<Answer> {
  const response = await fetch(`${url}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json", ...(key !== undefined && { authorization: `Bearer ${key}` }) },
    body: JSON.stringify({ ...asked, temperature: 1, parallel_tool_calls: false }),
  });
  const body = (await response.json()) as {
    error?: unknown;
    choices: [{ message: Answer["message"] }];
    usage: { prompt_tokens: number; completion_tokens: number; prompt_tokens_details: { cached_tokens: number } };
  };
  if (body.error !== undefined) throw new Error(JSON.stringify(body.error));
  const { message } = body.choices[0];
  const { prompt_tokens: promptTokens, completion_tokens: madeTokens, prompt_tokens_details: details } = body.usage;
  return { message, promptTokens, cachedTokens: details.cached_tokens, madeTokens };
}

function toolsOf(length: number): object[] {
  const each = 1200;
  return Array.from({ length: Math.max(1, Math.round(length / each)) }, (_, i) => ({
    type: "function",
    function: {
      name: `tool_${i}`,
      description: prose(each - 300, 1000 + i),
      parameters: {
        type: "object",
        properties: {
          text: { type: "string", maxLength: 60, description: "A text." },
          amount: { type: "number" },
        },
        required: ["text", "amount"],
      },
    },
  }));
}

const words = "the and in on of a to is was file name value list text each line with read write there her over".split(
  " ",
);

/** Made-up words; the same for the same seed. */
function prose(length: number, seed: number): string {
  let state = seed * 2654435761;
  let text = "";
  while (text.length < length) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    text += `${words[(state >>> 8) % words.length]}${(state >>> 20) % 11 === 0 ? ".\n" : " "}`;
  }
  return text.slice(0, length);
}
