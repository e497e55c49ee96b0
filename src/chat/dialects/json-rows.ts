/** Dialects in which a call, or all calls, are JSON between marks. */
import type { CallForm, Dialect } from "./types.js";

const usualKeys = { name: "name", arguments: "arguments" } as const;

/** The form that more families were trained on than any other: Hermes, and Qwen from 2.5 on. */
export const hermesForm: CallForm = {
  call: ["<tool_call>\n", { is: "object", ...usualKeys }, "\n</tool_call>"],
  separator: "\n",
};

const named = { is: "object", ...usualKeys, nameFirst: true } as const;
/** Small models forget the marks: Qwen2.5-Coder writes most of its calls so. */
const unmarkedForms: readonly CallForm[] = [
  { call: ["```json\n", named, "\n```"], separator: "\n", common: true },
  { call: [named], separator: "\n", bare: true },
];

export const hermes: Dialect = {
  name: "hermes",
  models: "Hermes 2 and 3, Qwen2.5, Qwen3, QwQ, MiMo, Granite 4, Bielik, EXAONE 4, Reka, ERNIE 4.5, SmolLM3",
  signs: [
    ["<tool_call>", '"arguments"'],
    ["<tool_call>", "'arguments'"],
    ["<tool_call>", "tojson"],
  ],
  forms: [hermesForm, ...unmarkedForms],
};

function listBetween(open: string, close: string, keys = usualKeys as { name: string; arguments: string }): CallForm {
  return { call: [open, { is: "list", ...keys }, close] };
}

const cohereForm: CallForm = {
  call: [
    "<|START_ACTION|>",
    { is: "list", name: "tool_name", arguments: "parameters", id: "tool_call_id" },
    "<|END_ACTION|>",
  ],
};

export const jsonRows: readonly Dialect[] = [
  {
    name: "mistral-list",
    models: "Mistral 7B v0.3, Nemo, Large 2, Small 3.1, Codestral",
    signs: [["[TOOL_CALLS] ["], ["[TOOL_CALLS]["], ['"[TOOL_CALLS]"', '"]"']],
    forms: [{ call: ["[TOOL_CALLS]", { is: "list", ...usualKeys, id: "id" }] }],
    thinking: [["[THINK]", "[/THINK]"]],
    ids: "nine",
  },
  {
    name: "cohere2-moe",
    models: "Command A Reasoning, Cohere2 MoE",
    signs: [["<|START_ACTION|>", "<|START_TEXT|>"]],
    forms: [cohereForm],
    thinking: [["<|START_THINKING|>", "<|END_THINKING|>"]],
    answer: ["<|START_TEXT|>", "<|END_TEXT|>"],
  },
  {
    name: "command-r7b",
    models: "Command R7B, Command A, Aya",
    signs: [["<|START_ACTION|>"]],
    forms: [cohereForm],
    thinking: [["<|START_THINKING|>", "<|END_THINKING|>"]],
    answer: ["<|START_RESPONSE|>", "<|END_RESPONSE|>"],
  },
  {
    name: "command-r",
    models: "Command R, Command R+",
    signs: [
      ["Action:", "tool_name", "directly-answer"],
      ["Action:", "tool_name", "directly_answer"],
    ],
    forms: [{ call: ["Action:", " ```json\n", { is: "list", name: "tool_name", arguments: "parameters" }, "\n```"] }],
  },
  {
    name: "nemotron-nano-v2",
    models: "Nemotron Nano v2, Nemotron Super 1.5",
    signs: [["<TOOLCALL>"]],
    forms: [listBetween("<TOOLCALL>", "</TOOLCALL>")],
  },
  {
    name: "granite-3",
    models: "Granite 3.0 to 3.3",
    signs: [
      ["<|tool_call|>", "granite"],
      ["<|tool_call|>", "Granite"],
      ["<|tool_call|>", "<|start_of_role|>"],
    ],
    forms: [listBetween("<|tool_call|>", "")],
    answer: ["<response>", "</response>"],
  },
  {
    name: "phi-4-mini",
    models: "Phi-4-mini",
    signs: [
      ["<|tool_call|>", "<|/tool_call|>"],
      ["<|tool|>", "<|/tool|>"],
    ],
    forms: [listBetween("<|tool_call|>", "<|/tool_call|>")],
  },
  {
    name: "apertus",
    models: "Apertus",
    signs: [["<|tools_prefix|>"]],
    forms: [{ call: ["<|tools_prefix|>", { is: "keyed" }, "<|tools_suffix|>"] }],
    thinking: [["<|inner_prefix|>", "<|inner_suffix|>"]],
  },
  {
    name: "apriel",
    models: "Apriel 1.5 and 1.6 Thinker",
    signs: [["[BEGIN FINAL RESPONSE]"]],
    forms: [listBetween("<tool_calls>", "</tool_calls>")],
    thinking: [["Here are my reasoning steps:\n", "[BEGIN FINAL RESPONSE]"]],
  },
  {
    name: "minimax-m1",
    models: "MiniMax M1, MiniMax Text 01",
    signs: [["<tool_calls>", "</tool_calls>", "tool name=tools"]],
    forms: [
      {
        section: ["<tool_calls>\n", "\n</tool_calls>"],
        call: [{ is: "object", ...usualKeys }],
        separator: "\n",
      },
    ],
  },
  {
    name: "jamba",
    models: "Jamba, Hunyuan A13B",
    signs: [
      ["<tool_calls>[", "</tool_calls>"],
      ["<tool_calls>", "'['"],
      ["<tool_calls>", "function_call"],
    ],
    forms: [listBetween("<tool_calls>", "</tool_calls>")],
    answer: ["<answer>", "</answer>"],
  },
  {
    name: "firefunction",
    models: "FireFunction v2",
    signs: [["functools["]],
    forms: [listBetween("functools", "")],
  },
  {
    name: "internlm",
    models: "InternLM 2.5 and 3",
    signs: [["<|action_start|>", "<|plugin|>"]],
    forms: [
      {
        call: [
          "<|action_start|><|plugin|>\n",
          { is: "object", name: "name", arguments: "parameters" },
          "<|action_end|>",
        ],
        separator: "\n",
      },
    ],
  },
  {
    name: "longcat",
    models: "LongCat Flash",
    signs: [["<longcat_tool_call>"]],
    forms: [
      { call: ["<longcat_tool_call>\n", { is: "object", ...usualKeys }, "\n</longcat_tool_call>"], separator: "\n" },
    ],
    thinking: [
      ["<longcat_think>", "</longcat_think>"],
      ["<think>", "</think>"],
    ],
  },
  {
    name: "gigachat",
    models: "GigaChat 3 and 3.1",
    signs: [["<|function_call|>"], ["function call<|role_sep|>"], ["'function call'", "role_sep"]],
    forms: [
      { call: ["<|function_call|>", { is: "object", ...usualKeys }] },
      { call: ["<|message_sep|>\n\nfunction call<|role_sep|>\n", { is: "object", ...usualKeys }] },
      { call: ["function call<|role_sep|>\n", { is: "object", ...usualKeys }] },
    ],
  },
  {
    name: "llama-3",
    models: "Llama 3.1, 3.2, 3.3, Nemotron 70B",
    signs: [["<|python_tag|>", "ipython"], ['"parameters":', "<|start_header_id|>"], ["'\"parameters\": '"]],
    forms: [
      { call: [{ is: "object", name: "name", arguments: "parameters" }], bare: true, separator: ";" },
      { call: ["<|python_tag|>", { is: "object", name: "name", arguments: "parameters" }] },
      { call: ["<|python_tag|>", { is: "python", bare: true }] },
    ],
  },
  {
    name: "xlam",
    models: "xLAM 2",
    signs: [["xLAM"], ['[{"name": "tool_call_name"']],
    forms: [{ call: [{ is: "list", ...usualKeys }], bare: true }],
  },
];
