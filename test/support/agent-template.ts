/** A chat template as agents meet them, with tools, results and thinking, and a tiny vocabulary with its marks. */
import type { TypedValue } from "../../src/formats/index.js";
import { bpeMetadata, byteAlphabet, englishMerges } from "../../src/synth/tiny-tokenizer.js";

/**
 * In the manner of the Hermes and Qwen families: tools in the system message, results in turns of the user, thinking
 * only behind the last thing that a user said.
 */
export const agentTemplate = `{%- if tools %}
{{- '<|im_start|>system\\n' }}
{%- if messages[0].role == 'system' %}{{- messages[0].content + '\\n\\n' }}{%- endif %}
{{- '# Tools\\n\\nYou may call one or more functions.\\n<tools>' }}
{%- for tool in tools %}{{- '\\n' }}{{- tool | tojson }}{%- endfor %}
{{- '\\n</tools>\\n\\nCalls stand between <tool_call> and </tool_call>, ' }}
{{- 'as {"name": ..., "arguments": ...}.<|im_end|>\\n' }}
{%- elif messages[0].role == 'system' %}
{{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
{%- endif %}
{%- set ns = namespace(asked=-1) %}
{%- for m in messages %}{%- if m.role == 'user' %}{%- set ns.asked = loop.index0 %}{%- endif %}{%- endfor %}
{%- for m in messages %}
{%- if m.role == 'user' or (m.role == 'system' and not loop.first) %}
{{- '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}
{%- elif m.role == 'assistant' %}
{{- '<|im_start|>assistant\\n' }}
{%- if m.reasoning_content and loop.index0 > ns.asked %}
{{- '<think>\\n' + m.reasoning_content.strip() + '\\n</think>\\n\\n' }}
{%- endif %}
{{- (m.content or '').strip() }}
{%- for call in m.tool_calls or [] %}
{%- if not loop.first or m.content %}{{- '\\n' }}{%- endif %}
{{- '<tool_call>\\n{"name": "' + call.function.name + '", "arguments": ' }}
{{- (call.function.arguments | tojson) + '}\\n</tool_call>' }}
{%- endfor %}
{{- '<|im_end|>\\n' }}
{%- elif m.role == 'tool' %}
{%- if loop.first or messages[loop.index0 - 1].role != 'tool' %}{{- '<|im_start|>user' }}{%- endif %}
{{- '\\n<tool_response>\\n' + m.content + '\\n</tool_response>' }}
{%- if loop.last or messages[loop.index0 + 1].role != 'tool' %}{{- '<|im_end|>\\n' }}{%- endif %}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}`;

const controls = ["<|endoftext|>", "<|im_end|>", "<|im_start|>", "<|pad|>"];

/** As many tokens as the tiny vocabulary, its control tokens named otherwise. */
export function agentTokenizer(template = agentTemplate): [string, TypedValue][] {
  const merges = englishMerges;
  const tokens = [...byteAlphabet(), ...merges.map((pair) => pair.replace(" ", "")), ...controls];
  return [
    ...bpeMetadata({ pre: "gpt-2", tokens, controls, merges, bos: "<|endoftext|>", eos: "<|im_end|>" }),
    ["tokenizer.chat_template", { type: "string", value: template }],
  ];
}
