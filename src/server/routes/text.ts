/** `/tokenize`, `/detokenize`, `/apply-template`, with llama.cpp's fields. */
import type { Hono } from "hono";
import { z } from "zod";
import type { Piece, TextService } from "../../text/index.js";
import { bodyOfParts, jsonAnswer, outgoingOf } from "../answers/parts.js";
import { type PieceCache, piecesOf } from "../answers/pieces.js";
import { tokenId } from "../answers/token-id.js";
import { conversationOf } from "../exchange/answer.js";
import { askedTools } from "../exchange/tools.js";
import { readJson } from "../http/body.js";
import { ruled } from "../http/field-rules.js";
import { wrongField } from "../http/http-error.js";
import { smallBytes } from "../http/untaken.js";
import { validate, Warnings } from "../http/validate.js";
import { conversationFields, oneEnd, saidOf } from "../openai/chat.js";
import { someTool } from "../openai/tools.js";
import type { ServerContext } from "../service/context.js";

export const tokenizeSchema = z.object({
  content: z.union(
    [z.string(), z.array(z.union([z.string(), tokenId])).max(100_000)],
    "a text, or a list of texts and ids",
  ),
  add_special: z.boolean().optional().describe("Add BOS and EOS as the model wants. Default false."),
  parse_special: z.boolean().optional().describe("Control tokens written in the text count as such. Default true."),
  with_pieces: z.boolean().optional().describe("List `{id, piece}`; a piece that is no UTF-8 is a list of bytes."),
});

export const detokenizeSchema = z.object({ tokens: z.array(tokenId) });

const json = { "content-type": "application/json" };

export const templateSchema = ruled(z.object(conversationFields), oneEnd, someTool);

export function textRoutes(app: Hono, { config, model, untaken }: ServerContext): void {
  app.post("/tokenize", async (c) => {
    const { value, unknown } = validate(tokenizeSchema, await readJson(c, config));
    warn(unknown).apply(c);
    const { text, info } = model.require();
    const { content } = value;
    const contents = typeof content === "string" ? [content] : content;
    const wrong = contents.find((part) => typeof part === "number" && part >= info.vocab);
    if (wrong !== undefined) {
      throw wrongField("content", `content: token ${wrong} is not in the vocabulary of ${info.vocab}`);
    }
    // No token is shorter than a byte, an id takes four.
    const bytes = contents.reduce<number>((sum, part) => sum + 4 * (typeof part === "string" ? part.length : 1), 0);
    const outgoing = outgoingOf(c);
    const share = bytes > smallBytes ? await untaken.reserve(outgoing, bytes) : untaken.hold(outgoing, bytes);
    try {
      const tokens = await encodeParts(text, contents, value);
      share.resize(tokens.byteLength);
      const pieces = value.with_pieces === true ? piecesOf(text) : undefined;
      const parts = tokenParts(tokens, pieces);
      if (tokens.length > partTokens) return c.body(bodyOfParts(parts, share), 200, json);
      const whole: Uint8Array[] = [];
      for await (const part of parts) whole.push(part);
      share.release();
      return c.body(Buffer.concat(whole), 200, json);
    } catch (error) {
      share.release();
      throw error;
    }
  });

  app.post("/detokenize", async (c) => {
    const { value, unknown } = validate(detokenizeSchema, await readJson(c, config));
    warn(unknown).apply(c);
    const tokens = Int32Array.from(value.tokens);
    // What is usual for a token; the answer is counted as it is once it is there.
    const bytes = 8 * tokens.length;
    const share = bytes > smallBytes ? await untaken.reserve(outgoingOf(c), bytes) : undefined;
    try {
      const content = await model.require().text.perform({ kind: "decode", tokens, special: true });
      return jsonAnswer(c, untaken, JSON.stringify({ content }));
    } finally {
      share?.release();
    }
  });

  app.post("/apply-template", async (c) => {
    const { value, unknown } = validate(templateSchema, await readJson(c, config));
    warn(unknown).apply(c);
    const said = saidOf(value);
    const { text, defaults } = model.require();
    const chat = conversationOf(said, askedTools(said.tools, said.toolChoice, said.parallelCalls), defaults);
    const prompt = await text.perform({ kind: "render", chat });
    return jsonAnswer(c, untaken, JSON.stringify({ prompt }));
  });
}

/** Texts and ids in one list: BOS comes before a text that is the first. */
async function encodeParts(
  text: TextService,
  parts: readonly (string | number)[],
  { add_special: special = false, parse_special: parseSpecial = true }: z.output<typeof tokenizeSchema>,
): Promise<Int32Array> {
  const found: Int32Array[] = [];
  for (const [i, part] of parts.entries()) {
    if (typeof part === "number") found.push(Int32Array.of(part));
    else found.push(await text.perform({ kind: "encode", text: part, addSpecial: special && i === 0, parseSpecial }));
  }
  if (found.length === 1) return found[0]!;
  const all = new Int32Array(found.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const ids of found) {
    all.set(ids, at);
    at += ids.length;
  }
  return all;
}

/** Token ids of a part. */
const partTokens = 2048;

/** An answer is made from its ids as it is taken: with pieces it is 40 times their size. */
async function* tokenParts(tokens: Int32Array, pieces: PieceCache | undefined): AsyncGenerator<Uint8Array> {
  yield Buffer.from('{"tokens":[');
  for (let at = 0; at < tokens.length; at += partTokens) {
    const ids = tokens.subarray(at, at + partTokens);
    if (at > 0) yield Buffer.from(",");
    yield pieces === undefined ? Buffer.from(ids.join(",")) : entriesOf(ids, await pieces.of(ids));
  }
  yield Buffer.from(`],"count":${tokens.length}}`);
}

/** `{id, piece}` of a token, as JSON. */
interface Entry {
  readonly json: string;
  /** Length as UTF-8. */
  readonly bytes: number;
}

/** They live as long as the pieces they are made of. */
const entries = new WeakMap<Piece, Entry>();

/** Written where they go, since a megabyte of tokens would leave many of garbage. */
function entriesOf(ids: Int32Array, lookup: (id: number) => Piece): Uint8Array {
  const list: Entry[] = [];
  let bytes = ids.length - 1;
  for (let i = 0; i < ids.length; i++) {
    const entry = entryOf(ids[i]!, lookup);
    bytes += entry.bytes;
    list.push(entry);
  }
  const written = Buffer.allocUnsafe(bytes);
  let at = 0;
  for (const entry of list) {
    if (at > 0) written[at++] = 0x2c; // a comma
    if (entry.bytes > entry.json.length) at += written.write(entry.json, at);
    else for (let j = 0; j < entry.bytes; j++) written[at++] = entry.json.charCodeAt(j); // a call for each is slower
  }
  return written;
}

function entryOf(id: number, lookup: (id: number) => Piece): Entry {
  const piece = lookup(id);
  let entry = entries.get(piece);
  if (entry === undefined) {
    const json = JSON.stringify({ id, piece: piece.text.includes("\ufffd") ? piece.bytes : piece.text });
    entry = { json, bytes: Buffer.byteLength(json) };
    entries.set(piece, entry);
  }
  return entry;
}

function warn(unknown: readonly string[]): Warnings {
  const warnings = new Warnings();
  warnings.unknown(unknown);
  return warnings;
}
