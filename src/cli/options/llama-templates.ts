/** Chat templates by the names llama-server has for them: a few that every model family is served with. */
import { HundredweightError } from "../../errors.js";

/** Each message by one expression, and how the assistant's turn begins. Strings hold the line feeds: Jinja trims. */
function template(message: string, begins: string): string {
  const start = `{% if add_generation_prompt %}{{ '${begins}' }}{% endif %}`;
  return `{% for m in messages %}{{ ${message} }}{% endfor %}${start}`;
}

const templates: Readonly<Record<string, string>> = {
  chatml: template("'<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n'", "<|im_start|>assistant\\n"),
  llama3: template(
    "'<|start_header_id|>' + m.role + '<|end_header_id|>\\n\\n' + m.content + '<|eot_id|>'",
    "<|start_header_id|>assistant<|end_header_id|>\\n\\n",
  ),
  "command-r": template(
    "'<|START_OF_TURN_TOKEN|><|' + {'system': 'SYSTEM', 'user': 'USER', 'assistant': 'CHATBOT'}[m.role] + '_TOKEN|>'" +
      " + m.content + '<|END_OF_TURN_TOKEN|>'",
    "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>",
  ),
  gemma: template(
    "'<start_of_turn>' + ('model' if m.role == 'assistant' else 'user') + '\\n' + m.content + '<end_of_turn>\\n'",
    "<start_of_turn>model\\n",
  ),
  phi3: template("'<|' + m.role + '|>\\n' + m.content + '<|end|>\\n'", "<|assistant|>\\n"),
  zephyr: template("'<|' + m.role + '|>\\n' + m.content + '<|endoftext|>\\n'", "<|assistant|>\\n"),
};

/**
 * A template as `--chat-template` gives it: a name, or the template itself.
 * @throws OPTION_INVALID for a name that is none
 */
export function llamaTemplate(given: string): string {
  if (!/^[A-Za-z0-9_.-]+$/.test(given)) return given;
  if (Object.hasOwn(templates, given)) return templates[given]!;
  throw new HundredweightError(
    "OPTION_INVALID",
    `--chat-template: there is none called '${given}'; there are ${Object.keys(templates).join(", ")}, or give Jinja`,
  );
}
