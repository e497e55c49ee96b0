/** Renders a conversation with the chat template of a model file, and tells what in the result a user wrote. */
import { steadyTime } from "./changing.js";
import { fitContent } from "./content.js";
import {
  type Dict,
  fromJs,
  JinjaTemplate,
  originsOf,
  plain,
  type Str,
  TemplateFault,
  type Value,
} from "./jinja/index.js";
import { type ChatMessage, checkRoles, type Segment, templateFault } from "./messages.js";

export interface RenderOptions {
  /** End with the beginning of the assistant's turn. Default true. */
  readonly addGenerationPrompt?: boolean | undefined;
  /** Texts of the BOS and EOS tokens. Default "". */
  readonly bosToken?: string | undefined;
  readonly eosToken?: string | undefined;
  readonly tools?: readonly unknown[] | undefined;
  readonly documents?: readonly unknown[] | undefined;
  /** Further variables, such as enable_thinking or reasoning_effort: the caller's, taken as template text. */
  readonly variables?: Readonly<Record<string, unknown>> | undefined;
}

export interface RenderedChat {
  readonly text: string;
  /** The text in parts, for `Tokenizer.encodeSegments`: no control token is recognised in or across a user's part. */
  readonly segments: readonly Segment[];
}

/**
 * Pure: equal arguments give equal results (but for templates that ask for the time). A template is hostile code that
 * may take as long as its limits allow, so servers call this where they can stop it.
 * @throws TEMPLATE_INVALID naming the construct, or with the message of the template's own raise_exception
 */
export function renderChat(
  source: string,
  messages: readonly ChatMessage[],
  options: RenderOptions = {},
): RenderedChat {
  const template = parseTemplate(source);
  checkRoles(messages);
  const render = (conversation: readonly ChatMessage[]): Str =>
    asTemplateFault("cannot be rendered", () =>
      template.render(valuesOf(conversation, options), {
        inputLength: lengthOf([conversation, options.tools, options.documents]),
        environment: { now: steadyTime },
      }),
    );
  const rendered = render(fitContent(messages, source, (sample) => plain(render(sample))));
  return { text: plain(rendered), segments: originsOf(rendered) };
}

/** Parsed templates by text: a server renders the same one for every request. */
const parsed = new Map<string, JinjaTemplate>();

/** @throws TEMPLATE_INVALID */
function parseTemplate(source: string): JinjaTemplate {
  const known = parsed.get(source);
  if (known !== undefined) return known;
  const template = asTemplateFault("cannot be parsed", () => new JinjaTemplate(source));
  if (parsed.size >= 8) parsed.clear();
  parsed.set(source, template);
  return template;
}

function asTemplateFault<T>(what: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof TemplateFault) throw templateFault(`${what}: ${error.message}`, limitOf(error));
    throw error;
  }
}

/** The names by which servers tell what is no mistake of the request. */
function limitOf({ limit }: TemplateFault): Record<string, unknown> {
  if (limit === "time") return { fault: "template_timeout" };
  return limit === "memory" ? { fault: "text_memory" } : {};
}

/** The variables a template finds: its caller's words are the template's, messages, tools and documents a person's. */
function valuesOf(messages: readonly ChatMessage[], options: RenderOptions): Dict {
  const values = fromJs(options.variables ?? {}, "template") as Dict;
  const set = (name: string, value: Value): void => values.set(name, value);
  set("add_generation_prompt", options.addGenerationPrompt ?? true);
  set("bos_token", options.bosToken ?? "");
  set("eos_token", options.eosToken ?? "");
  set("messages", fromJs(messages.map(messageOf), "person"));
  if (options.tools !== undefined) set("tools", fromJs(options.tools, "person"));
  // FireFunction's template wants the tools as one text, and has it where there are none.
  const { tools = [] } = options;
  if (!values.has("functions"))
    set("functions", fromJs(tools.length > 0 ? JSON.stringify(tools, null, 2) : "", "person"));
  if (options.documents !== undefined) set("documents", fromJs(options.documents, "person"));
  return values;
}

/** Templates build control tokens from the role, which is known to be a plain word: it counts as the template's. */
function messageOf(message: ChatMessage): Dict {
  const dict = fromJs(message, "person") as Dict;
  dict.set("role", message.role);
  return dict;
}

/** Characters of all texts, by which the limits of a rendering grow. */
function lengthOf(value: unknown): number {
  let length = 0;
  const open: unknown[] = [value];
  while (open.length > 0) {
    const next = open.pop();
    if (typeof next === "string") length += next.length;
    else if (typeof next === "object" && next !== null) open.push(...Object.values(next));
  }
  return length;
}
