/**
 * A conversation as a file: lines of JSON, the first its header (so that a list reads the beginning of each file only),
 * the second its settings, then a message a line.
 */
import { z } from "zod";
import { HundredweightError } from "../../errors.js";
import { idPattern } from "./ids.js";
import type { Conversation, ConversationHeader, Message } from "./wire.js";

export const limits = {
  /** A whole file, and what an import may be. */
  conversationBytes: 16 * 2 ** 20,
  messageCharacters: 2 ** 20,
  messages: 10_000,
  conversations: 10_000,
  titleCharacters: 200,
  /** Messages that wait to be sent. */
  nextMessages: 8,
  systemCharacters: 256 * 1024,
} as const;

const version = 1;
const id = z.string().regex(idPattern);
const time = z.iso.datetime();
const title = z.string().min(1).max(limits.titleCharacters);
const count = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);

const between = (least: number, most: number) => z.number().min(least).max(most).exactOptional();
const whole = (least: number, most: number) => z.number().int().min(least).max(most).exactOptional();
const mostTokens = 2 ** 31 - 1;

/** A setting that is absent is the model's own default. */
export const samplingSchema = z.strictObject({
  temperature: between(0, 1000),
  topK: whole(0, mostTokens),
  topP: between(0, 1),
  minP: between(0, 1),
  repeatPenalty: between(1e-6, 1e6),
  frequencyPenalty: between(-1e6, 1e6),
  presencePenalty: between(-1e6, 1e6),
  penaltyLastTokens: whole(-1, mostTokens),
  typical: between(0, 1),
  topNSigma: between(-1, 1e6),
  xtcProbability: between(0, 1),
  xtcThreshold: between(0, 1),
  dryMultiplier: between(0, 1e6),
  dryBase: between(0, 1e6),
  dryAllowedLength: whole(0, mostTokens),
  mirostat: whole(0, 2),
  mirostatTau: between(0, 1e6),
  mirostatEta: between(0, 1e6),
  seed: whole(0, Number.MAX_SAFE_INTEGER),
  maxTokens: whole(1, mostTokens),
});

export const formSchema = z.strictObject({
  schema: z.string().max(limits.systemCharacters).exactOptional(),
  tools: z.string().max(limits.systemCharacters).exactOptional(),
  effort: z.enum(["none", "low", "medium", "high"]).exactOptional(),
});

const nextSchema = z.object({
  id,
  after: id,
  content: z.string().max(limits.messageCharacters),
  createdAt: time,
});

const headerSchema = z.object({
  version: z.literal(version),
  id,
  title,
  pinned: z.boolean().exactOptional(),
  folder: z.string().min(1).max(limits.titleCharacters).exactOptional(),
  createdAt: time,
  updatedAt: time,
});
const settingsSchema = z.object({
  system: z.string().max(limits.systemCharacters),
  sampling: samplingSchema,
  form: formSchema.exactOptional(),
  leaf: id.nullable(),
  seenFrom: id.exactOptional(),
  next: z.array(nextSchema).max(limits.nextMessages).exactOptional(),
  seat: z.number().int().min(0).max(1000).exactOptional(),
});

const word = z
  .number()
  .int()
  .min(0)
  .max(2 ** 32 - 1);
/** With what an answer that was cut goes on. */
const resumeSchema = z.object({
  tokens: z.array(z.number().int().min(0).max(mostTokens)).max(limits.messageCharacters),
  random: z.tuple([word, word, word, word]).readonly(),
  mirostat: z.number().exactOptional(),
});
const draftSchema = z.object({ tried: count, right: count }).exactOptional();
const draftsSchema = z.object({
  forced: draftSchema,
  prediction: draftSchema,
  lookup: draftSchema,
  earlier: draftSchema,
  model: draftSchema,
  mtp: draftSchema,
});
const messageSchema = z.object({
  id,
  parent: id.nullable(),
  role: z.enum(["user", "assistant"]),
  content: z.string().max(limits.messageCharacters),
  createdAt: time,
  state: z.enum(["running", "stop", "length", "stopped", "failed", "interrupted"]).exactOptional(),
  model: z.string().max(1000).exactOptional(),
  error: z.object({ code: z.string().max(100), message: z.string().max(10_000) }).exactOptional(),
  stats: z
    .object({
      promptTokens: count,
      cachedTokens: count,
      generatedTokens: count,
      prefillMs: z.number().min(0),
      decodeMs: z.number().min(0),
      drafts: draftsSchema.exactOptional(),
    })
    .exactOptional(),
  cut: z.union([z.literal("context"), z.number().int().min(1).max(mostTokens)]).exactOptional(),
  sampling: samplingSchema.exactOptional(),
  seenFrom: id.exactOptional(),
  resume: resumeSchema.exactOptional(),
  tokens: resumeSchema.shape.tokens.exactOptional(),
});

export type StoredResume = Readonly<z.infer<typeof resumeSchema>>;

/** A message as it is stored: of an answer that was cut the file knows more than pages are told. */
export interface StoredMessage extends Message {
  readonly resume?: StoredResume;
  /** The tokens of an answer that ended by itself: what is asked of them later is asked of these. */
  readonly tokens?: readonly number[];
}

/** @returns what is shown of a message */
export function shownMessage({ resume: _, tokens: __, ...message }: StoredMessage): Message {
  return message;
}

/** A conversation as it is exported and imported: one JSON document. */
export const conversationSchema = headerSchema.extend(settingsSchema.shape).extend({
  messages: z.array(messageSchema).max(limits.messages),
});

export function encodeConversation(conversation: Conversation): string {
  const { id, title, pinned, folder, createdAt, updatedAt, messages, ...settings } = conversation;
  const { length: waiting } = settings.next ?? [];
  const header = { version, id, title, pinned, folder, createdAt, updatedAt };
  const lines: object[] = [{ ...header, messages: messages.length, waiting }];
  lines.push(settings, ...messages);
  return `${lines.map((line) => JSON.stringify(line)).join("\n")}\n`;
}

export function exportConversation(conversation: Conversation): string {
  return JSON.stringify({ version, ...conversation }, null, 2);
}

/** @throws FORMAT_INVALID */
export function decodeConversation(text: string): Conversation {
  const [header, settings, ...messages] = text
    .split("\n")
    .filter((line) => line !== "")
    .map(parseJson);
  return checkConversation({ ...asObject(header), ...asObject(settings), messages });
}

/** Counts of the first line: messages, and those that wait to be sent. */
export interface HeaderCounts {
  readonly messages: number;
  readonly waiting: number;
}

/** Reads the first line of a file. @throws FORMAT_INVALID */
export function decodeHeader(line: string): ConversationHeader & HeaderCounts {
  const found = headerSchema.extend({ messages: count, waiting: count.default(0) }).safeParse(parseJson(line));
  if (!found.success) throw invalid(found.error);
  const { version: _, ...header } = found.data;
  return header;
}

/**
 * Shape, sizes, and that messages are a tree: each parent comes before its children, users and answers take turns.
 * @throws FORMAT_INVALID
 */
export function checkConversation(value: unknown): Conversation {
  const found = conversationSchema.safeParse(value);
  if (!found.success) throw invalid(found.error);
  const { version: _, ...conversation } = found.data;
  const roles = new Map<string, string>();
  for (const { id, parent, role } of conversation.messages) {
    const before = parent === null ? "assistant" : roles.get(parent);
    if (roles.has(id)) throw damaged(`message ${id} is there twice`);
    if (before === undefined) throw damaged(`message ${id} follows ${parent}, which is not before it`);
    if (before === role) throw damaged(`message ${id} and the one before it are both the ${role}'s`);
    roles.set(id, role);
  }
  if (conversation.leaf !== null && !roles.has(conversation.leaf))
    throw damaged(`message ${conversation.leaf} is missing`);
  return conversation;
}

function parseJson(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    throw damaged("a line is not JSON");
  }
}

const asObject = (value: unknown): object => (typeof value === "object" && value !== null ? value : {});

function invalid(error: z.ZodError): HundredweightError {
  const first = error.issues[0];
  return damaged(`${first?.path.join(".") || "it"}: ${first?.message ?? "wrong shape"}`);
}

function damaged(what: string): HundredweightError {
  return new HundredweightError("FORMAT_INVALID", `not a conversation of hundredweight: ${what}`);
}
