/**
 * A scripted agent: somebody asks for one thing after the other, the model calls tools of a small workspace, their
 * results go back to it.
 */
import type { ChatMessage } from "../../src/chat/index.js";
import type { Model } from "../../src/library/model.js";

export interface AgentOptions {
  /** Things asked for, of those that the script has. */
  readonly turns: number;
  /** The first answer to each has to be a call. */
  readonly mustCall: boolean;
  readonly maxTokens: number;
  readonly temperature?: number;
  readonly seed?: number;
  readonly onStep?: (line: string) => void;
}

export interface AgentReport {
  readonly turns: number;
  /** Turns in which a tool was called, and in which it was the one that was meant. */
  readonly called: number;
  readonly meant: number;
  readonly calls: number;
  /** Calls that were cut, whose arguments are no JSON, or not by their schema. */
  readonly broken: number;
  readonly seconds: number;
}

type Tool = (given: Readonly<Record<string, unknown>>) => string;

const tool = (name: string, description: string, properties: object, required = Object.keys(properties)) => ({
  type: "function",
  function: {
    name,
    description,
    parameters: { type: "object", properties, required, additionalProperties: false },
  },
});
const path = { type: "string", description: "A file name, for instance notes.txt", maxLength: 40 };

export const agentTools = [
  tool("list_files", "Lists the names of all files.", {}),
  tool("read_file", "Reads a file.", { path }),
  tool("write_file", "Writes a file.", { path, content: { type: "string", maxLength: 300 } }),
  tool("search", "Finds a word in all files.", { word: { type: "string", maxLength: 40 } }),
  tool("calculate", "Adds, subtracts, multiplies or divides two numbers.", {
    operation: { type: "string", enum: ["add", "subtract", "multiply", "divide"] },
    a: { type: "number" },
    b: { type: "number" },
  }),
];

/** A workspace, and what its tools do. */
function workspace(): Readonly<Record<string, Tool>> {
  const files = new Map([
    ["notes.txt", "Buy apples.\nCall Ada about the engine."],
    ["main.js", "console.log(add(2, 3));"],
    ["prices.csv", "apple,3\npear,5"],
  ]);
  const text = (value: unknown): string => (typeof value === "string" ? value : JSON.stringify(value ?? ""));
  return {
    list_files: () => [...files.keys()].join("\n"),
    read_file: ({ path: name }) => files.get(text(name)) ?? `there is no file ${text(name)}`,
    write_file: ({ path: name, content }) => {
      files.set(text(name), text(content));
      return `wrote ${text(name)}`;
    },
    search: ({ word }) =>
      [...files]
        .filter(([, content]) => content.includes(text(word)))
        .map(([name]) => name)
        .join("\n") || "nothing",
    calculate: ({ operation, a, b }) => {
      const [x, y] = [Number(a), Number(b)];
      return String({ add: x + y, subtract: x - y, multiply: x * y, divide: x / y }[text(operation)] ?? "unknown");
    },
  };
}

/** The questions, and the tool that each of them means. */
const script: readonly (readonly [ask: string, tool: string])[] = [
  ["Which files are there?", "list_files"],
  ["Read notes.txt.", "read_file"],
  ["What does 17 times 23 make? Use the tool.", "calculate"],
  ["Search all files for the word apple.", "search"],
  ["Write hello.txt with the content: Hello, world!", "write_file"],
  ["Read hello.txt back to me.", "read_file"],
  ["Divide 144 by 12 with the tool.", "calculate"],
  ["Read prices.csv.", "read_file"],
  ["Add the price of an apple and that of a pear with the tool.", "calculate"],
  ["Write sum.txt with that result.", "write_file"],
  ["List the files again.", "list_files"],
  ["In which file does the name Ada stand?", "search"],
  ["Read main.js.", "read_file"],
  ["Write lib.js with a JavaScript function add(a, b) that returns the sum.", "write_file"],
  ["Subtract 19 from 100 with the tool.", "calculate"],
];

export async function runAgent(model: Model, options: AgentOptions): Promise<AgentReport> {
  const { turns, mustCall, maxTokens, temperature = 0, seed = 1, onStep = () => {} } = options;
  const tools = workspace();
  const messages: ChatMessage[] = [
    {
      role: "system",
      content: "You work on a few files. Use the tools for whatever you are asked, then answer shortly.",
    },
  ];
  const report = { turns: 0, called: 0, meant: 0, calls: 0, broken: 0 };
  const began = performance.now();
  for (let turn = 0; turn < turns; turn++) {
    const [ask, meant] = script[turn % script.length]!;
    messages.push({ role: "user", content: ask });
    const names: string[] = [];
    let result = "";
    for (let round = 0; round < 4; round++) {
      const must = mustCall && round === 0;
      const generation = model.chat(messages, {
        tools: agentTools,
        maxTokens,
        temperature,
        seed,
        ...(must && { mustCall: true, parallelCalls: false }),
      });
      const { text, toolCalls, warnings } = await generation.result();
      const broken = warnings.filter((warning) => /arguments|could not be read/.test(warning)).length;
      report.broken += Math.max(broken, toolCalls.filter(({ whole }) => !whole).length);
      const calls = toolCalls.filter(({ whole }) => whole);
      for (const { name, arguments: json } of calls) onStep(`  ${name} ${json}`);
      if (calls.length === 0) {
        // Who says nothing once says nothing from then on: what the tool answered is the answer.
        messages.push({ role: "assistant", content: text.trim() === "" ? result : text });
        onStep(`  > ${text.trim().slice(0, 200).replaceAll("\n", " ")}`);
        break;
      }
      const made = calls.map(({ id, name, arguments: json }) => ({
        id,
        type: "function",
        function: { name, arguments: json },
      }));
      messages.push({ role: "assistant", content: text === "" ? null : text, tool_calls: made });
      for (const { id, name, arguments: json } of calls) {
        names.push(name);
        result = tools[name]!(JSON.parse(json));
        messages.push({ role: "tool", tool_call_id: id, name, content: result });
      }
    }
    report.turns++;
    report.calls += names.length;
    if (names.length > 0) report.called++;
    if (names.includes(meant)) report.meant++;
    onStep(`${turn + 1}. ${ask} [${names.join(", ") || "no call"}; meant ${meant}]`);
  }
  return { ...report, seconds: (performance.now() - began) / 1000 };
}
