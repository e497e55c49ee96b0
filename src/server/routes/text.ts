/** `/tokenize`, `/detokenize`, `/apply-template`, with llama.cpp's fields. */
import type { Hono } from "hono";
import { z } from "zod";
import { piecesOf } from "../answers/pieces.js";
import { readJson } from "../body.js";
import type { ServerContext } from "../context.js";
import { conversationFields, conversationOf } from "../openai/chat.js";
import { validate, Warnings } from "../validate.js";

export const tokenizeSchema = z.object({
  content: z.string(),
  add_special: z.boolean().optional().describe("Add BOS and EOS as the model wants. Default false."),
  parse_special: z.boolean().optional().describe("Control tokens written in the text count as such. Default true."),
  with_pieces: z.boolean().optional().describe("List `{id, piece}`; a piece that is no UTF-8 is a list of bytes."),
});

export const detokenizeSchema = z.object({
  tokens: z.array(
    z
      .int()
      .min(0)
      .max(2 ** 31 - 1),
  ),
});

export const templateSchema = z.object(conversationFields);

export function textRoutes(app: Hono, { config, model }: ServerContext): void {
  app.post("/tokenize", async (c) => {
    const { value, unknown } = validate(tokenizeSchema, await readJson(c, config));
    warn(unknown).apply(c);
    const { text } = model.require();
    const tokens = await text.perform({
      kind: "encode",
      text: value.content,
      addSpecial: value.add_special ?? false,
      parseSpecial: value.parse_special ?? true,
    });
    const count = tokens.length;
    if (value.with_pieces !== true) {
      // By hand: of a body of 4 MiB a list of numbers and its JSON take a quarter of a second of everybody's time, this a tenth of it.
      const json = `{"tokens":[${tokens.join(",")}],"count":${count}}`;
      return c.body(json, 200, { "content-type": "application/json" });
    }
    // Token by token: the piece of one that occurs a million times is asked for, and written, once.
    const lookup = await piecesOf(text).of([...new Set(tokens)]);
    const written = new Map<number, string>();
    const entryOf = (id: number): string => {
      let entry = written.get(id);
      if (entry === undefined) {
        const { text: piece, bytes } = lookup(id);
        entry = JSON.stringify({ id, piece: piece.includes("\ufffd") ? bytes : piece });
        written.set(id, entry);
      }
      return entry;
    };
    const json = `{"tokens":[${Array.from(tokens, entryOf).join(",")}],"count":${count}}`;
    return c.body(json, 200, { "content-type": "application/json" });
  });

  app.post("/detokenize", async (c) => {
    const { value, unknown } = validate(detokenizeSchema, await readJson(c, config));
    warn(unknown).apply(c);
    const tokens = Int32Array.from(value.tokens);
    return c.json({ content: await model.require().text.perform({ kind: "decode", tokens, special: true }) });
  });

  app.post("/apply-template", async (c) => {
    const { value, unknown } = validate(templateSchema, await readJson(c, config));
    warn(unknown).apply(c);
    return c.json({ prompt: await model.require().text.perform({ kind: "render", chat: conversationOf(value) }) });
  });
}

function warn(unknown: readonly string[]): Warnings {
  const warnings = new Warnings();
  warnings.unknown(unknown);
  return warnings;
}
