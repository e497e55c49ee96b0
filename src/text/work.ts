/** The work of a text place: templates and tokenization of one model file. */
import { type ChatMessage, chatTemplates, type RenderedChat, renderChat } from "../chat/index.js";
import { HundredweightError } from "../errors.js";
import { openCheckpoint } from "../formats/index.js";
import { createTokenizer, encodePair, firstTokens, pairTemplate, type Tokenizer } from "../tokenizer/index.js";
import { within } from "./interrupt.js";
import { encodePrompt } from "./prompt.js";
import type { ChatText, Piece, TextInfo, TextLimits, TextRequest, TextResults } from "./protocol.js";

/** A template made a longer text than this try of the request may tokenize. */
export class RenderedTooLong extends Error {}

export class TextWork {
  readonly info: TextInfo;
  private readonly tokenizer: Tokenizer;
  private readonly template: string | undefined;
  private readonly pairTemplate: string | undefined;

  private constructor(tokenizer: Tokenizer, templates: ReadonlyMap<string, string>, pairTemplate: string | undefined) {
    this.tokenizer = tokenizer;
    this.template = templates.get("default");
    this.pairTemplate = pairTemplate;
    this.info = {
      vocab: tokenizer.size,
      templates: [...templates.keys()],
      bos: tokenizer.special.bos,
      eos: tokenizer.special.eos,
    };
  }

  /** The template is not even parsed: that may take for ever too. @throws what opening a file and its tokenizer throws */
  static async open(path: string): Promise<TextWork> {
    const { metadata } = await openCheckpoint(path);
    return new TextWork(createTokenizer(metadata), chatTemplates(metadata), pairTemplate(metadata));
  }

  /** @throws TEMPLATE_INVALID, TEMPLATE_MISSING, OPTION_INVALID; Interrupted, RenderedTooLong */
  perform(request: TextRequest, limits: TextLimits): TextResults[keyof TextResults] {
    const { tokenizer } = this;
    switch (request.kind) {
      case "render":
        return this.render(request.chat, limits).text;
      case "encodeChat": {
        const { text, segments } = this.render(request.chat, limits);
        return encodePrompt(tokenizer, text, request.most, () => tokenizer.encodeSegments(segments));
      }
      case "encodePrompt":
        return encodePrompt(tokenizer, request.text, request.most, () => tokenizer.encode(request.text, request));
      case "encodePair": {
        const { query, most, cut } = request;
        const document = cut === undefined ? request.document : firstTokens(tokenizer, request.document, cut);
        const encode = () => encodePair(tokenizer, this.pairTemplate, query, document);
        return encodePrompt(tokenizer, query + document, most, encode);
      }
      case "encode":
        return tokenizer.encode(request.text, request);
      case "decode":
        return tokenizer.decode(this.checked(request.tokens), { special: request.special });
      case "pieces":
        return Array.from(this.checked(request.tokens), (id) => this.piece(id));
    }
  }

  private piece(id: number): Piece {
    const bytes = [...this.tokenizer.pieceBytes(id)];
    return { bytes, text: bytes.length === 0 ? this.tokenizer.piece(id) : Buffer.from(bytes).toString("utf8") };
  }

  private checked(tokens: Int32Array): Int32Array {
    const wrong = tokens.find((id) => id < 0 || id >= this.tokenizer.size);
    if (wrong === undefined) return tokens;
    throw new HundredweightError(
      "OPTION_INVALID",
      `token ${wrong} is not in the vocabulary (0 to ${this.tokenizer.size - 1})`,
    );
  }

  private render(chat: ChatText, { renderMs, renderedLength }: TextLimits): RenderedChat {
    const { template, tokenizer } = this;
    if (template === undefined) {
      throw new HundredweightError(
        "TEMPLATE_MISSING",
        "the model file has no chat template; use /v1/completions, which continues a text",
      );
    }
    const nameOf = (id: number | undefined): string => (id === undefined ? "" : tokenizer.piece(id));
    const rendered = within(renderMs, () =>
      renderChat(template, fitRoles(chat.messages, template), {
        addGenerationPrompt: chat.addGenerationPrompt,
        tools: chat.tools,
        variables: chat.variables,
        bosToken: nameOf(tokenizer.special.bos),
        eosToken: nameOf(tokenizer.special.eos),
      }),
    );
    if (rendered.text.length > renderedLength) throw new RenderedTooLong();
    return rendered;
  }
}

/** OpenAI's `developer` is what every template but that of gpt-oss calls `system`. */
function fitRoles(messages: readonly ChatMessage[], template: string): readonly ChatMessage[] {
  if (template.includes("developer")) return messages;
  return messages.map((m) => (m?.role === "developer" ? { ...m, role: "system" } : m));
}
