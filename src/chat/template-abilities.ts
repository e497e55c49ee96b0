/** Says what a model's chat template can do, for clients that ask before they send anything. */
import { HundredweightError } from "../errors.js";
import { Abilities } from "./abilities.js";
import { dialectOfSigns } from "./dialects/index.js";
import { thinkingOf } from "./dialects/types.js";
import { renderChat } from "./template.js";

export interface TemplateAbilities {
  readonly system: boolean;
  /** The template describes tools itself; others are described in words. */
  readonly tools: boolean;
  /** It writes calls and results of earlier turns. */
  readonly calls: boolean;
  readonly results: boolean;
  readonly thinking: boolean;
}

/**
 * Renders samples, so it belongs where templates can do no harm. All false when there is no template.
 * @param templates of the file, by name
 */
export function templateAbilities(templates: ReadonlyMap<string, string>): TemplateAbilities {
  const source = templates.get("tool_use") ?? templates.get("default") ?? [...templates.values()][0];
  if (source === undefined) return { system: false, tools: false, calls: false, results: false, thinking: false };
  const abilities = new Abilities((messages, tools) => {
    try {
      return renderChat(source, messages, tools === undefined ? {} : { tools }).text;
    } catch (error) {
      // What breaks a rendering off from outside is no answer of the template.
      if (error instanceof HundredweightError && error.details.fault === undefined) return undefined;
      throw error;
    }
  });
  const dialect = dialectOfSigns(source);
  const marks = dialect === undefined ? [["<think>"]] : thinkingOf(dialect);
  return {
    system: abilities.system,
    tools: abilities.tools,
    calls: abilities.calls !== undefined,
    results: abilities.results,
    thinking: source.includes("enable_thinking") || marks.some(([open]) => source.includes(open!)),
  };
}
