/** Dialects in which every argument stands by itself: between tags, in a Python call, or in a literal of their own. */
import { headerMarks } from "./headed.js";
import { hermesForm } from "./json-rows.js";
import { gemmaQuote } from "./literals.js";
import type { Dialect, Params, Piece } from "./types.js";

const name: Piece = { is: "name" };

const qwenParams: Params = { is: "params", open: ["<parameter=", { is: "key" }, ">\n"], close: "\n</parameter>\n" };
const qwenInner: readonly Piece[] = ["<function=", name, ">\n", qwenParams, "</function>\n"];

const namedParams = (tag: string, prefix = ""): Params => ({
  is: "params",
  open: [`<${prefix}${tag} name="`, { is: "key" }, '">'],
  close: `</${prefix}${tag}>\n`,
});

const atem: readonly Piece[] = [
  '<atem:invoke name="',
  name,
  '">\n',
  namedParams("parameter", "atem:"),
  "</atem:invoke>\n",
];

/** DeepSeek V3.2 and V4: `mark` is what the section is called. */
function dsml(mark: string): Dialect["forms"] {
  const call: readonly Piece[] = [
    '<｜DSML｜invoke name="',
    name,
    '">\n',
    {
      is: "params",
      open: ['<｜DSML｜parameter name="', { is: "key" }, '" string="', { is: "kind" }, '">'],
      close: "</｜DSML｜parameter>\n",
      textKind: "true",
    },
    "</｜DSML｜invoke>\n",
  ];
  return [{ section: [`<｜DSML｜${mark}>\n`, `</｜DSML｜${mark}>`], call }, { call }];
}

/** GLM: `line` is what stands between name, keys and values. */
function glm(line: string): Dialect["forms"] {
  const params: Params = {
    is: "params",
    open: ["<arg_key>", { is: "key" }, `</arg_key>${line}<arg_value>`],
    close: `</arg_value>${line}`,
  };
  return [{ call: ["<tool_call>", name, line, params, "</tool_call>"], separator: line }, hermesForm];
}

export const tagRows: readonly Dialect[] = [
  {
    name: "qwen3-coder",
    models: "Qwen3-Coder, Qwen3.5, Qwen3.6, Nemotron 3, Step 3.5",
    signs: [["<function=", "<parameter=", "<tool_call>"]],
    forms: [
      { call: ["<tool_call>\n", ...qwenInner, "</tool_call>"], separator: "\n" },
      hermesForm,
      // It leaves out the first mark.
      { call: [...qwenInner, "</tool_call>"], separator: "\n" },
    ],
  },
  {
    name: "seed-oss",
    models: "Seed-OSS",
    signs: [["<seed:tool_call>"]],
    forms: [
      {
        call: [
          "<seed:tool_call>\n",
          "<function=",
          name,
          ">\n",
          { is: "params", open: ["<parameter=", { is: "key" }, ">"], close: "</parameter>\n" },
          "</function>\n",
          "</seed:tool_call>",
        ],
        separator: "\n",
      },
    ],
    thinking: [["<seed:think>", "</seed:think>"]],
  },
  {
    name: "minimax-m2",
    models: "MiniMax M2, M2.1, M2.5",
    signs: [["<minimax:tool_call>"]],
    forms: [
      {
        section: ["<minimax:tool_call>\n", "</minimax:tool_call>"],
        call: ['<invoke name="', name, '">\n', namedParams("parameter"), "</invoke>\n"],
      },
    ],
  },
  {
    name: "minimax-m3",
    models: "MiniMax M3",
    signs: [["]<]minimax[>["]],
    forms: [
      {
        section: ["]<]minimax[>[<tool_call>\n", "]<]minimax[>[</tool_call>"],
        call: [
          ']<]minimax[>[<invoke name="',
          name,
          '">',
          { is: "nested", prefix: "]<]minimax[>[" },
          "]<]minimax[>[</invoke>\n",
        ],
      },
    ],
    thinking: [["<mm:think>", "</mm:think>"]],
  },
  {
    name: "deepseek-v4",
    models: "DeepSeek V4, V4 Flash",
    signs: [["｜DSML｜", "tool_calls>"]],
    forms: dsml("tool_calls"),
  },
  { name: "deepseek-v3.2", models: "DeepSeek V3.2", signs: [["｜DSML｜"]], forms: dsml("function_calls") },
  {
    name: "glm-4.5",
    models: "GLM 4.5, 4.6, Laguna XS, Ling 3",
    signs: [
      ["<arg_key>", "\n<arg_value>"],
      ["<arg_key>", "</arg_key>\n"],
      ["<arg_key>", "</arg_key>\\n"],
    ],
    forms: glm("\n"),
  },
  { name: "glm-4.7", models: "GLM 4.7, GLM 5, Laguna S, Spark 2.5", signs: [["<arg_key>"]], forms: glm("") },
  {
    name: "minicpm5",
    models: "MiniCPM 5",
    signs: [['<function name="', "<param name="]],
    forms: [
      {
        call: [
          '<function name="',
          name,
          '">',
          { ...namedParams("param"), quotes: ["<![CDATA[", "]]>"] },
          "</function>",
        ],
        separator: "\n",
      },
    ],
  },
  {
    name: "muse",
    models: "Muse Glimmer",
    signs: [["<atem:function_calls>"], ["atem:invoke"]],
    messages: "recipients",
    forms: [
      {
        call: [
          "<|start|>assistant to=",
          name,
          "<|message|>",
          "<atem:function_calls>\n",
          ...atem,
          "</atem:function_calls>",
        ],
        separator: "<|eom|>",
      },
      { section: ["<atem:function_calls>\n", "</atem:function_calls>"], call: atem },
    ],
    marks: headerMarks("recipients"),
  },
  {
    name: "hunyuan",
    models: "Hunyuan 3",
    signs: [["<tool_sep"]],
    forms: [
      {
        section: ["<tool_calls:opensource>\n", "</tool_calls:opensource>"],
        call: [
          "<tool_call:opensource>",
          name,
          "<tool_sep:opensource>\n",
          {
            is: "params",
            open: ["<arg_key:opensource>", { is: "key" }, "</arg_key:opensource>\n<arg_value:opensource>"],
            close: "</arg_value:opensource>\n",
          },
          "</tool_call:opensource>\n",
        ],
      },
    ],
    thinking: [["<think:opensource>", "</think:opensource>"]],
  },
  {
    name: "kimi-k3",
    models: "Kimi K3",
    signs: [
      ["<|open|>tools", "<|sep|>"],
      ["<|open|>", "<|close|>", "<|sep|>"],
    ],
    forms: [
      {
        section: ["<|open|>tools<|sep|>", "<|close|>tools<|sep|>"],
        call: [
          '<|open|>call tool="',
          name,
          '" index="',
          { is: "id" },
          '"<|sep|>',
          {
            is: "params",
            open: ['<|open|>argument key="', { is: "key" }, '" type="', { is: "kind" }, '"<|sep|>'],
            close: "<|close|>argument<|sep|>",
            textKind: "string",
          },
          "<|close|>call<|sep|>",
        ],
      },
    ],
    thinking: [["<|open|>think<|sep|>", "<|close|>think<|sep|>"]],
    answer: ["<|open|>response<|sep|>", "<|close|>response<|sep|>"],
  },
  {
    name: "lfm2",
    models: "LFM2, LFM2.5",
    signs: [["<|tool_call_start|>"], ["<|tool_list_start|>"]],
    forms: [{ call: ["<|tool_call_start|>", { is: "python" }, "<|tool_call_end|>"] }],
  },
  {
    name: "olmo-3",
    models: "Olmo 3",
    signs: [["<function_calls>", "</function_calls>", "<functions>"]],
    forms: [{ call: ["<function_calls>\n", { is: "python", bare: true }, "\n</function_calls>"] }],
  },
  {
    name: "llama-4",
    models: "Llama 4, Llama 3.2 with Python calls",
    signs: [["<|header_start|>"], ["[func_name1(params_name1"]],
    forms: [
      { call: [{ is: "python" }], bare: true },
      { call: ["<|python_start|>", { is: "python" }, "<|python_end|>"] },
      { call: [{ is: "object", name: "name", arguments: "parameters" }], bare: true },
    ],
  },
  {
    name: "gemma-4",
    models: "Gemma 4, FunctionGemma",
    signs: [["<|tool_call>call:"], ["<start_function_call>call:"], ["<|tool_call>", "call:"]],
    forms: [
      { call: ["<|tool_call>", "call:", name, { is: "gemma" }, "<tool_call|>"] },
      { call: ["<start_function_call>", "call:", name, { is: "gemma" }, "<end_function_call>"] },
    ],
    thinking: [["<|channel>thought\n", "<channel|>"]],
    marks: [gemmaQuote, "<|channel>", "<channel|>", "<escape>"],
  },
];
