/** The work of a text place: templates and tokenization of one model file. */
import { headerStyles } from "../chat/dialects/headed.js";
import {
  type Conversation,
  chatMl,
  chatTemplates,
  followedBy,
  type PreparedConversation,
  prepareConversation,
  type ReplyStart,
  type SaidReply,
  type Segment,
  sentBack,
  type TemplateAbilities,
  type TemplateTexts,
  templateAbilities,
} from "../chat/index.js";
import { openCheckpoint } from "../containers/index.js";
import { HundredweightError } from "../errors.js";
import type { LeftOut } from "../sampling/constraint/grammar/rule-book.js";
import type { Constraint } from "../sampling/constraint/source.js";
import type { ConstraintTokenizer } from "../sampling/constraint/vocabulary.js";
import {
  createTokenizer,
  encodeGap,
  encodePair,
  firstTokens,
  pairTemplate,
  shownText,
  type Tokenizer,
} from "../tokenizer/index.js";
import { within } from "./interrupt.js";
import { hashesAt, type KnownTexts, lastMark, longestKnown, segmentsFrom } from "./known-texts.js";
import { encodePrompt, type TooLong } from "./prompt.js";
import type { EncodedChat, Piece, TextInfo, TextLimits, TextRequest, TextResults } from "./protocol.js";

/** A template made a longer text than this try of the request may tokenize. */
export class RenderedTooLong extends Error {}

const mostConstraints = 32;

/** Stands in where only texts are compiled. */
const noTokens: ConstraintTokenizer = {
  size: 0,
  pieceBytes: () => new Uint8Array(0),
  piece: () => "",
  tokenKind: () => "normal",
  endOfGeneration: new Set(),
  encode: () => new Int32Array(0),
};

export class TextWork {
  readonly info: TextInfo;
  private readonly tokenizer: Tokenizer;
  private readonly templates: ReadonlyMap<string, string>;
  private readonly pairTemplate: string | undefined;
  private abilities: TemplateAbilities | undefined;
  /** Ids of control tokens by the marks they are looked for by: those of a few dialects. */
  private readonly shown = new Map<string, readonly number[]>();

  /** The parts not enforced of constraints that were met: an agent sends the same tools in every turn. */
  private readonly constraints = new Map<string, readonly LeftOut[]>();

  private constructor(tokenizer: Tokenizer, templates: ReadonlyMap<string, string>, pairTemplate: string | undefined) {
    this.tokenizer = tokenizer;
    this.templates = templates;
    this.pairTemplate = pairTemplate;
    this.info = {
      vocab: tokenizer.size,
      templates: [...templates.keys()],
      bos: tokenizer.special.bos,
      eos: tokenizer.special.eos,
      fim: tokenizer.fim,
      ends: [...tokenizer.endOfGeneration],
    };
  }

  /**
   * The template is not even parsed: that may take for ever too. @throws what opening a file and its tokenizer throws
   */
  static async open(path: string, template?: string): Promise<TextWork> {
    const { metadata } = await openCheckpoint(path);
    const templates = template === undefined ? chatTemplates(metadata) : new Map([["default", template]]);
    return new TextWork(createTokenizer(metadata), templates, pairTemplate(metadata));
  }

  /** @throws TEMPLATE_INVALID, OPTION_INVALID; Interrupted, RenderedTooLong */
  perform(
    request: Exclude<TextRequest, { kind: "checkConstraint" }>,
    limits: TextLimits,
  ): TextResults[keyof TextResults] {
    const { tokenizer } = this;
    switch (request.kind) {
      case "render":
        return this.render(request.chat, limits).text;
      case "encodeChat": {
        const { segments, reply, marks, thinking, notes, text } = this.render(request.chat, limits);
        const known = request.known && longestKnown(segments, request.known);
        const tokens = this.encodeBehind(text, segments, request, known);
        if (!(tokens instanceof Int32Array)) return tokens;
        const end = [...tokenizer.encode(thinking.end, { addSpecial: false, parseSpecial: true })];
        return {
          tokens,
          reply,
          shown: this.controlTokens(marks),
          thinking: { ...thinking, end },
          notes,
          ...(known !== undefined && { known }),
          ...turnOf(segments, this.endMarks(reply)),
        };
      }
      case "answered":
        return this.answered(request, limits);
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
      case "encodeGap": {
        const { gap, most } = request;
        return encodePrompt(tokenizer, gap.prefix + gap.suffix, most, () => encodeGap(tokenizer, gap));
      }
      case "decode":
        return tokenizer.decode(this.checked(request.tokens), {
          special: request.special,
          continues: request.exact ?? false,
        });
      case "abilities": {
        this.abilities ??= within(limits.renderMs, () => templateAbilities(this.templates));
        return this.abilities;
      }
      case "pieces":
        return Array.from(this.checked(request.tokens), (id) => this.piece(id));
    }
  }

  /** The tokens behind a known text, which ends where a control token begins. */
  private encodeBehind(
    text: string,
    segments: readonly Segment[],
    { known, most }: { readonly known?: KnownTexts; readonly most: number },
    index: number | undefined,
  ): Int32Array | TooLong {
    const { tokenizer } = this;
    if (known === undefined || index === undefined)
      return encodePrompt(tokenizer, text, most, () => tokenizer.encodeSegments(segments));
    const before = known.tokens[index]!;
    const rest = segmentsFrom(segments, known.lengths[index]!);
    const encode = () => tokenizer.encodeSegments(rest, true);
    const tokens = encodePrompt(tokenizer, text.slice(known.lengths[index]), most - before, encode);
    return "tokens" in tokens ? { ...tokens, tokens: before + tokens.tokens } : tokens;
  }

  /** @throws Interrupted */
  private answered(
    { chat, turn, answer, keepThinking, mark }: Extract<TextRequest, { kind: "answered" }>,
    { renderMs }: TextLimits,
  ): TextResults["answered"] {
    const next = followedBy(answer, mark);
    const toTools = answer.calls.length > 0;
    const found = within(renderMs, () =>
      sentBack(answer).flatMap((message) => {
        const messages = [...chat.messages, message, ...next];
        const prepared = this.prepared({ ...chat, messages, mustCall: undefined });
        if (prepared === undefined) return [];
        const { segments, text, reply } = prepared;
        const ends = this.endMarks(reply);
        const at = lastMark(segments, ends, text.indexOf(mark));
        const said = text.slice(lastMark(segments, ends, at) + 1, at);
        if (at <= 0 || !holds(said, answer)) return [];
        const says = answer.content !== "" || toTools;
        // The tokens are those of a prompt with all that was thought.
        const thought = answer.reasoning.trim();
        const asBefore = toTools || said.includes(thought);
        const goesOn = turn.at < at && asBefore && hashesAt(segments, [turn.at])[0]!.equals(turn.hash);
        return goesOn || (keepThinking && says) ? [{ at, hash: hashesAt(segments, [at])[0]! }] : [];
      }),
    );
    const distinct = found.filter(({ hash }, i) => found.findIndex((one) => one.hash.equals(hash)) === i);
    return {
      lengths: Int32Array.from(distinct, ({ at }) => at),
      hashes: Buffer.concat(distinct.map(({ hash }) => hash)),
    };
  }

  /** Undefined where the template refuses it. */
  private prepared(chat: Conversation): PreparedConversation | undefined {
    try {
      return prepareConversation(this.templates, chat, this.texts);
    } catch (error) {
      if (error instanceof HundredweightError && error.details.fault === undefined) return undefined;
      throw error;
    }
  }

  /** Texts by which an answer's turn ends, for the model and for the template. */
  private endMarks({ dialect }: ReplyStart): readonly string[] {
    const { tokenizer } = this;
    const marks = Array.from(tokenizer.endOfGeneration, (id) => tokenizer.piece(id));
    const headed = dialect.messages === undefined ? [] : headerStyles[dialect.messages].ends;
    const sources = [...this.templates.values(), ...(this.templates.size === 0 ? [chatMl] : [])];
    const written = (mark: string): boolean =>
      sources.some((source) => source.includes(mark) || source.includes("eos_token"));
    return [...marks, ...headed].filter((mark) => mark !== "" && written(mark));
  }

  private get texts(): TemplateTexts {
    const { tokenizer } = this;
    const nameOf = (id: number | undefined): string => (id === undefined ? "" : tokenizer.piece(id));
    const { bos, eos } = tokenizer.special;
    return { bosToken: nameOf(bos), eosToken: nameOf(eos) };
  }

  /**
   * The parts of a constraint that are not enforced. Loads what reads constraints.
   * @throws OPTION_INVALID; Interrupted
   */
  async leftOutOf(constraint: Constraint, { renderMs }: TextLimits): Promise<readonly LeftOut[]> {
    const key = JSON.stringify(constraint);
    const known = this.constraints.get(key);
    if (known !== undefined) return known;
    const { checkConstraint } = await import("../sampling/constraint/constraint.js");
    // Tokens are names in GBNF only; nothing of the tokenizer may be broken off.
    const found =
      constraint.kind === "gbnf"
        ? checkConstraint(constraint, this.tokenizer)
        : within(renderMs, () => checkConstraint(constraint, noTokens));
    if (this.constraints.size >= mostConstraints) this.constraints.clear();
    this.constraints.set(key, found);
    return found;
  }

  private piece(id: number): Piece {
    return { bytes: [...this.tokenizer.pieceBytes(id)], text: shownText(this.tokenizer, id) };
  }

  private checked(tokens: Int32Array): Int32Array {
    const wrong = tokens.find((id) => id < 0 || id >= this.tokenizer.size);
    if (wrong === undefined) return tokens;
    throw new HundredweightError(
      "OPTION_INVALID",
      `token ${wrong} is not in the vocabulary (0 to ${this.tokenizer.size - 1})`,
    );
  }

  private render(chat: Conversation, { renderMs, renderedLength }: TextLimits): PreparedConversation {
    const { templates, texts } = this;
    const rendered = within(renderMs, () => prepareConversation(templates, chat, texts));
    if (rendered.text.length > renderedLength) throw new RenderedTooLong();
    return rendered;
  }

  /** Control tokens by which these marks are written; those that end an answer are never a part of it. */
  private controlTokens(marks: readonly string[]): readonly number[] {
    const { tokenizer } = this;
    const key = marks.join("\n");
    const known = this.shown.get(key);
    if (known !== undefined) return known;
    if (this.shown.size >= 8) this.shown.clear();
    const ids = new Set<number>();
    for (const mark of marks) {
      for (const id of tokenizer.encode(mark, { addSpecial: false, parseSpecial: true })) {
        if (tokenizer.tokenKind(id) === "control" && !tokenizer.endOfGeneration.has(id)) ids.add(id);
      }
    }
    const found = [...ids];
    this.shown.set(key, found);
    return found;
  }
}

/** Where the last turn of a prompt ends. */
function turnOf(segments: readonly Segment[], ends: readonly string[]): Pick<EncodedChat, "turn"> {
  if (ends.length === 0) return {};
  const at = Math.max(0, lastMark(segments, ends, Number.POSITIVE_INFINITY));
  return { turn: { at, hash: hashesAt(segments, [at])[0] ?? hashesAt([], [0])[0]! } };
}

/** Whether a turn says what an answer says. */
function holds(turn: string, { content, calls }: SaidReply): boolean {
  return turn.includes(content.trim()) && calls.every(({ name }) => turn.includes(name));
}
