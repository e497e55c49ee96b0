/** Renders a conversation with the chat template of a model file, and tells what in the result a user wrote. */
import { Template } from "@huggingface/jinja";
import { asHundredweightError, HundredweightError } from "../errors.js";
import { fitContent } from "./content.js";
import { guard, type Segment } from "./guard.js";
import { type ChatMessage, checkRoles, templateFault } from "./messages.js";

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
 * may run for ever, so servers call this where they can stop it.
 * @throws TEMPLATE_INVALID naming the construct, or with the message of the template's own raise_exception
 */
export function renderChat(
  source: string,
  messages: readonly ChatMessage[],
  options: RenderOptions = {},
): RenderedChat {
  const template = parseTemplate(source);
  checkRoles(messages);
  const render = (variables: Record<string, unknown>) => renderTemplate(template, variables);
  const fixed = {
    ...options.variables,
    add_generation_prompt: options.addGenerationPrompt ?? true,
    bos_token: options.bosToken ?? "",
    eos_token: options.eosToken ?? "",
  };
  const untrusted = {
    messages: fitContent(messages, source, (sample) => template.render({ ...fixed, messages: sample })),
    ...(options.tools === undefined ? {} : { tools: options.tools }),
    ...(options.documents === undefined ? {} : { documents: options.documents }),
  };
  try {
    return guard(template, untrusted, (values) => render({ ...fixed, ...values }));
  } catch (error) {
    // Deeply nested tools or messages exhaust the stack.
    if (error instanceof RangeError) throw templateFault("the conversation is nested too deeply");
    throw asHundredweightError(error);
  }
}

/** Parsed templates by text: a server renders the same one for every request. */
const parsed = new Map<string, Template>();

/** @throws TEMPLATE_INVALID */
export function parseTemplate(source: string): Template {
  const known = parsed.get(source);
  if (known !== undefined) return known;
  let template: Template;
  try {
    template = new Template(source);
  } catch (error) {
    throw templateFault(`cannot be parsed: ${(error as Error).message}`);
  }
  if (parsed.size >= 8) parsed.clear();
  parsed.set(source, template);
  return template;
}

function renderTemplate(template: Template, variables: Record<string, unknown>): string {
  try {
    return template.render(variables);
  } catch (error) {
    if (error instanceof HundredweightError || error instanceof RangeError) throw error;
    throw templateFault(`cannot be rendered: ${(error as Error).message}`);
  }
}
