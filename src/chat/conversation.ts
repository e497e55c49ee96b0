/**
 * Makes a prompt of a conversation: chooses the template, brings messages into the form it reads, renders it, and
 * says how the reply to it is to be read. Pure but for the date; a template is hostile code, so servers call this
 * where they can stop it.
 */
import { HundredweightError } from "../errors.js";
import { Abilities } from "./abilities.js";
import { steadyTime, withoutHeaders } from "./changing.js";
import { begunCall } from "./dialects/begun-call.js";
import { deriveForm, plainDialect } from "./dialects/derive.js";
import { headerBegun, headerStyles } from "./dialects/headed.js";
import { type Dialect, dialectNamed, dialectOfSigns, hermes } from "./dialects/index.js";
import { openerOf } from "./dialects/read-calls.js";
import { thinkingOf } from "./dialects/types.js";
import { fitHistory, fitSystem, textOf } from "./history.js";
import { strftime } from "./jinja/index.js";
import { type ChatMessage, checkRoles, type Segment } from "./messages.js";
import type { ReplyFormat } from "./reply.js";
import { type RenderedChat, type RenderOptions, renderChat } from "./template.js";
import { describedTools } from "./tool-shapes.js";
import { toolsInWords } from "./tools-in-words.js";

/** Holds what is said and what may be called. Plain data: it travels between processes. */
export interface Conversation {
  readonly messages: readonly ChatMessage[];
  /** As in OpenAI's API: `{ type: "function", function: { name, description, parameters } }`. */
  readonly tools?: readonly unknown[] | undefined;
  /** The reply begins with a call: of any tool, or of the one with this name. */
  readonly mustCall?: true | string | undefined;
  /** End with the beginning of the assistant's turn. Default true. */
  readonly addGenerationPrompt?: boolean | undefined;
  /** The reply goes on with a last message of the assistant instead of answering it. Default true. */
  readonly continueLast?: boolean | undefined;
  /** Further variables of the template: `enable_thinking`, `reasoning_effort` ... */
  readonly variables?: Readonly<Record<string, unknown>> | undefined;
  /** Name of the dialect, where it is not to be found out from the template. */
  readonly dialect?: string | undefined;
}

export interface PreparedConversation {
  readonly text: string;
  /** The text in parts, for `Tokenizer.encodeSegments`: no control token is recognised in or across a user's part. */
  readonly segments: readonly Segment[];
  readonly reply: ReplyStart;
  /** Marks of the dialect: tokens that spell them must be shown in the reply. */
  readonly marks: readonly string[];
  /** Marks around thinking, and the text that ends it. */
  readonly thinking: { readonly open: readonly string[]; readonly close: readonly string[]; readonly end: string };
  /** Lines a person should read: that there was no template, for instance. */
  readonly notes: readonly string[];
}

/** Tells what the prompt says of its reply; the tools are known to whoever asked. */
export type ReplyStart = Pick<ReplyFormat, "dialect" | "thinks" | "begun">;

export interface TemplateTexts {
  readonly bosToken?: string | undefined;
  readonly eosToken?: string | undefined;
}

/** Stands in where a file has no template. @source https://github.com/openai/openai-python (chatml.md) */
export const chatMl =
  "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}" +
  "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

/**
 * @param templates of the file, by name
 * @throws TEMPLATE_INVALID naming the construct, or with the message of the template's own raise_exception
 */
export function prepareConversation(
  templates: ReadonlyMap<string, string>,
  conversation: Conversation,
  texts: TemplateTexts = {},
): PreparedConversation {
  const { tools = [], mustCall } = conversation;
  checkRoles(conversation.messages);
  const notes: string[] = [];
  const source = choose(templates, tools.length > 0, notes);
  const template = loaded(source, texts);
  const dialect = dialectFor(template, conversation);
  const { before, last } = splitLast({ ...conversation, messages: withoutHeaders(conversation.messages) });
  const fitted = fit(before, template, dialect, tools);
  const given = tools.length > 0 && template.abilities.tools ? tools : undefined;
  const options: RenderOptions = {
    ...texts,
    addGenerationPrompt: last !== undefined || (conversation.addGenerationPrompt ?? true),
    variables: variablesOf(conversation),
  };
  const rendered = renderWithTools(source, fitted, given, options);
  const prompt = new Prompt(rendered.segments, dialect);
  if (last !== undefined) prompt.goOnWith(last);
  else if (mustCall !== undefined && tools.length > 0) prompt.beginCall(mustCall);
  const marks = marksOf(dialect, tools.length > 0);
  return { ...prompt.made, marks, thinking: thinkingMarks(dialect, prompt.opened), notes };
}

/** Some templates refuse tools that are not described to the last argument: then what is missing is the empty text. */
function renderWithTools(
  source: string,
  messages: readonly ChatMessage[],
  tools: readonly unknown[] | undefined,
  options: RenderOptions,
): RenderedChat {
  if (tools === undefined) return renderChat(source, messages, options);
  try {
    return renderChat(source, messages, { ...options, tools });
  } catch (error) {
    const described = describedTools(tools);
    if (!isRefusal(error) || JSON.stringify(described) === JSON.stringify(tools)) throw error;
    return renderChat(source, messages, { ...options, tools: described });
  }
}

/** Whether the template refused; what breaks a rendering off from outside is no answer of it. */
function isRefusal(error: unknown): boolean {
  return error instanceof HundredweightError && error.details.fault === undefined;
}

/** A tool's template where the file has one and it is needed; ChatML where it has none. */
function choose(templates: ReadonlyMap<string, string>, tools: boolean, notes: string[]): string {
  const found =
    (tools ? templates.get("tool_use") : undefined) ?? templates.get("default") ?? [...templates.values()][0];
  if (found !== undefined) return found;
  notes.push("the model file has no chat template; ChatML is used, which the model may not know");
  return chatMl;
}

// --- templates that were met

interface Loaded {
  readonly source: string;
  readonly abilities: Abilities;
  dialect: Dialect | undefined;
}

const known = new Map<string, Loaded>();

function loaded(source: string, texts: TemplateTexts): Loaded {
  const found = known.get(source);
  if (found !== undefined) return found;
  if (known.size >= 8) known.clear();
  const variables = variablesOf({ messages: [] });
  const abilities = new Abilities((messages, tools) => {
    try {
      return renderChat(source, messages, { ...texts, variables, ...(tools !== undefined && { tools }) }).text;
    } catch (error) {
      if (isRefusal(error)) return undefined;
      throw error;
    }
  });
  const made: Loaded = { source, abilities, dialect: undefined };
  known.set(source, made);
  return made;
}

function dialectFor(template: Loaded, { dialect: name, tools = [] }: Conversation): Dialect {
  const asked = name === undefined ? undefined : dialectNamed(name);
  if (asked !== undefined) return asked;
  const signs = dialectOfSigns(template.source);
  if (tools.length === 0) return signs ?? plainDialect(template.source);
  template.dialect ??= withCalls(template, signs);
  return template.dialect;
}

function withCalls({ source, abilities }: Loaded, signs: Dialect | undefined): Dialect {
  const plain = plainDialect(source);
  if (signs !== undefined) return signs;
  if (!abilities.tools) return { ...plain, name: "hermes", forms: hermes.forms };
  const sample = abilities.callSample;
  const form = sample && deriveForm(sample);
  return form === undefined
    ? { ...plain, name: "hermes", forms: hermes.forms }
    : { ...plain, name: "derived", forms: [form, ...hermes.forms] };
}

// --- messages

function fit(
  messages: readonly ChatMessage[],
  { source, abilities }: Loaded,
  dialect: Dialect,
  tools: readonly unknown[],
): readonly ChatMessage[] {
  const called = messages.some(({ role, tool_calls: calls }) => role === "tool" || Array.isArray(calls));
  const form = called ? (abilities.calls ?? "values") : undefined;
  let fitted = fitHistory(messages, { template: source, arguments: form, ids: dialect.ids });
  const inWords = {
    tools: tools.length > 0 && !abilities.tools,
    calls: called && abilities.calls === undefined,
    results: called && !abilities.results,
  };
  if (inWords.tools || inWords.calls || inWords.results) fitted = toolsInWords(fitted, tools, dialect, inWords);
  return fitSystem(
    fitted,
    () => abilities.system,
    () => abilities.laterSystem,
  );
}

/** The message that the reply goes on with, and those before it. */
function splitLast({ messages, continueLast = true, addGenerationPrompt = true }: Conversation): {
  before: readonly ChatMessage[];
  last: ChatMessage | undefined;
} {
  const last = messages.at(-1);
  const goesOn = continueLast && addGenerationPrompt && last?.role === "assistant" && !Array.isArray(last.tool_calls);
  return goesOn ? { before: messages.slice(0, -1), last } : { before: messages, last: undefined };
}

/** Names that templates ask for without looking whether they are there. */
function variablesOf({ variables }: Conversation): NonNullable<RenderOptions["variables"]> {
  const now = steadyTime();
  return {
    date_string: strftime(now, "%d %b %Y"),
    datetime: strftime(now, "%b %d %Y %H:%M:%S"),
    enable_thinking: true,
    ...variables,
  };
}

// --- the end of the prompt

type Pair = readonly [open: string, close: string];

/** How far from the end the beginning of thinking is looked for. */
const tailLength = 400;

class Prompt {
  private readonly segments: Segment[];
  private readonly dialect: Dialect;
  private begun = "";

  constructor(segments: readonly Segment[], dialect: Dialect) {
    this.segments = [...segments];
    this.dialect = dialect;
    const end = this.tail;
    if (dialect.messages !== undefined) {
      if (end.endsWith(headerBegun)) this.begun = headerBegun;
    } else {
      const openers = dialect.forms.map(openerOf).filter((opener) => opener !== undefined);
      this.begun = openers.find((opener) => end.endsWith(opener)) ?? "";
    }
  }

  get made(): { text: string; segments: readonly Segment[]; reply: ReplyStart } {
    const { segments, dialect, begun } = this;
    const text = segments.map((segment) => segment.text).join("");
    return { text, segments, reply: { dialect, thinks: this.opened !== undefined, begun } };
  }

  /** Adds the beginning of the answer that a message of the assistant already holds. */
  goOnWith(message: ChatMessage): void {
    const content = textOf(message);
    const thought = message.reasoning_content ?? message.reasoning;
    const thinking = typeof thought === "string" ? thought : "";
    const [open, close] = this.opened ?? thinkingOf(this.dialect)[0]!;
    if (this.dialect.messages !== undefined) {
      const part = content === "" && thinking !== "" ? "thinking" : "answer";
      const header = headerStyles[this.dialect.messages][part];
      this.add(header, false);
      this.begun += header;
      this.add(part === "answer" ? content : thinking, true);
      return;
    }
    if (thinking !== "" && this.opened === undefined) this.add(`${open.trim()}\n`, false);
    if (thinking !== "") this.add(thinking, true);
    if (content === "") return;
    if (this.opened !== undefined || thinking !== "") this.add(`\n${close.trim()}\n\n`, false);
    this.add(content, true);
  }

  /** Begins the call that the reply has to be. */
  beginCall(tool: true | string): void {
    const opened = this.opened;
    if (opened !== undefined) this.add(`\n${opened[1].trim()}\n\n`, false);
    const begun = begunCall(this.dialect, tool === true ? undefined : tool);
    this.add(begun.startsWith(this.begun) ? begun.slice(this.begun.length) : begun, false);
    this.begun = begun;
  }

  private get tail(): string {
    const last = this.segments.at(-1);
    return last === undefined || last.user ? "" : last.text.slice(-tailLength).trimEnd();
  }

  /** The pair of marks of which the prompt ends with the first. */
  get opened(): Pair | undefined {
    const end = this.tail;
    return thinkingOf(this.dialect).find(([open]) => end.endsWith(open.trim()));
  }

  private add(text: string, user: boolean): void {
    if (text !== "") this.segments.push({ text, user });
  }
}

function thinkingMarks(dialect: Dialect, opened: Pair | undefined): PreparedConversation["thinking"] {
  if (dialect.messages !== undefined) {
    const { thinking, answer, ends } = headerStyles[dialect.messages];
    return { open: [thinking.trim()], close: [...ends, headerBegun], end: `${ends[0]}${headerBegun}${answer}` };
  }
  const pairs = thinkingOf(dialect);
  // Of the many that a template may mean the most usual one is the last.
  const [, close] = opened ?? (dialect.name === "plain" ? pairs.at(-1)! : pairs[0]!);
  return {
    open: pairs.map(([one]) => one.trim()),
    close: pairs.map(([, one]) => one.trim()),
    end: `\n${close.trim()}\n\n`,
  };
}

/** Everything of a dialect that tokens may stand for. */
function marksOf(dialect: Dialect, tools: boolean): readonly string[] {
  const marks = new Set([
    ...thinkingOf(dialect).flat(),
    ...(dialect.answer ?? []),
    ...(dialect.skipped ?? []),
    ...(dialect.marks ?? []),
  ]);
  if (tools) {
    for (const { section = [], call } of dialect.forms) {
      for (const mark of section) marks.add(mark);
      for (const piece of call) {
        if (typeof piece === "string") marks.add(piece);
        else if (piece.is === "params") {
          for (const part of piece.open) if (typeof part === "string") marks.add(part);
          marks.add(piece.close);
        } else if (piece.is === "nested") marks.add(piece.prefix);
      }
    }
  }
  return [...marks].map((mark) => mark.trim()).filter((mark) => mark !== "");
}
