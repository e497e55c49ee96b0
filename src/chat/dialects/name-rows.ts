/** Dialects in which the name of a tool stands between marks, and its arguments are one JSON object after it. */
import { headerMarks } from "./headed.js";
import type { Dialect, Piece } from "./types.js";

const name: Piece = { is: "name" };
const json: Piece = { is: "json" };

const deepseekSection = ["<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"] as const;
const deepseekFenced: readonly Piece[] = [
  "<｜tool▁call▁begin｜>",
  "function",
  "<｜tool▁sep｜>",
  name,
  "\n```json\n",
  json,
  "\n```",
  "<｜tool▁call▁end｜>",
];
const deepseekPlain: readonly Piece[] = ["<｜tool▁call▁begin｜>", name, "<｜tool▁sep｜>", json, "<｜tool▁call▁end｜>"];
const kimiCall: readonly Piece[] = [
  "<|tool_call_begin|>",
  { is: "name", prefix: "functions.", numbered: true },
  "<|tool_call_argument_begin|>",
  json,
  "<|tool_call_end|>",
];

export const nameRows: readonly Dialect[] = [
  {
    name: "mistral-id",
    models: "Mistral Small 3.2",
    signs: [["[CALL_ID]"]],
    forms: [
      { call: ["[TOOL_CALLS]", name, "[CALL_ID]", { is: "id" }, "[ARGS]", json] },
      { call: ["[TOOL_CALLS]", name, "[ARGS]", json] },
    ],
    thinking: [["[THINK]", "[/THINK]"]],
    ids: "nine",
  },
  {
    name: "mistral-args",
    models: "Devstral, Ministral 3, Magistral, Mistral Medium 3",
    signs: [["[TOOL_CALLS]", "[ARGS]"]],
    forms: [{ call: ["[TOOL_CALLS]", name, "[ARGS]", json] }],
    thinking: [["[THINK]", "[/THINK]"]],
    ids: "nine",
  },
  {
    name: "deepseek-r1",
    models: "DeepSeek R1, V3, and what was distilled from R1",
    signs: [["<｜tool▁calls▁begin｜>", "```json"]],
    forms: [
      { section: deepseekSection, call: deepseekFenced, separator: "\n" },
      { section: deepseekSection, call: deepseekPlain },
      { call: deepseekFenced, separator: "\n" },
      { call: deepseekPlain },
    ],
  },
  {
    name: "deepseek-v3.1",
    models: "DeepSeek V3.1",
    signs: [["<｜tool▁calls▁begin｜>"]],
    forms: [{ section: deepseekSection, call: deepseekPlain }, { call: deepseekPlain }],
  },
  {
    name: "kimi-k2",
    models: "Kimi K2, K2 Thinking, K2.5",
    signs: [["<|tool_call_begin|>", "<|tool_call_argument_begin|>"]],
    forms: [
      { section: ["<|tool_calls_section_begin|>", "<|tool_calls_section_end|>"], call: kimiCall },
      { call: kimiCall },
    ],
  },
  {
    name: "solar-open",
    models: "Solar Open",
    signs: [["<|tool_call:begin|>"]],
    forms: [
      {
        section: ["<|tool_calls|>", "<|calls|>"],
        call: [
          "<|tool_call:begin|>",
          { is: "id" },
          "<|tool_call:name|>",
          name,
          "<|tool_call:args|>",
          json,
          "<|tool_call:end|>",
        ],
      },
    ],
    thinking: [["<|think|>", "<|end|>"]],
    answer: ["<|content|>", "<|end|>"],
    skipped: ["<|begin|>assistant"],
  },
  {
    name: "functionary-3.2",
    models: "Functionary v3.2",
    signs: [[">>>all"], [">>>"]],
    forms: [{ call: [">>>", name, "\n", json], contentName: "all" }],
  },
  {
    name: "functionary-3.1",
    models: "Functionary v3.1",
    signs: [["<function=", "</function>", "<|eom_id|>"]],
    forms: [{ call: ["<function=", name, ">", json, "</function>"] }],
  },
  {
    name: "harmony",
    models: "gpt-oss",
    signs: [["<|channel|>", "<|message|>", "<|start|>"], ["<|channel|>analysis"]],
    messages: "harmony",
    forms: [
      {
        call: ["<|start|>assistant to=functions.", name, "<|channel|>commentary json<|message|>", json, "<|call|>"],
      },
    ],
    marks: headerMarks("harmony"),
  },
];
