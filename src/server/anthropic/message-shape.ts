/** Shapes an answer as Anthropic's message: content blocks, whole and as events. */
import { createHash, type Hash, randomUUID } from "node:crypto";
import type { ChoiceJob } from "../answers/answer-set.js";
import { namedEvents } from "../answers/wire.js";
import type { Ending, ExchangeShape, SpokenEvent, SpokenPart, WholeReply } from "../exchange/events.js";
import type { HttpError } from "../http/http-error.js";
import type { ServedModel } from "../service/model-service.js";
import { theirId } from "./read-messages.js";

/** Calls are the model's own, not of a program that it wrote. */
const caller = { type: "direct" };

/** The block that is being written. */
type Open = { readonly kind: "content" | "call" } | { readonly kind: "reasoning"; readonly hash: Hash };

export interface MessageShapeInput {
  /** Thinking is not sent. */
  readonly hidden: boolean;
  readonly maxTokens: number;
  failure(error: HttpError): object;
}

export class MessageShape implements ExchangeShape {
  readonly wire = namedEvents;
  readonly failure: (error: HttpError) => object;
  private readonly served: ServedModel;
  private readonly input: MessageShapeInput;
  private readonly promptTokens: number;
  private readonly id = `msg_${randomUUID().replaceAll("-", "")}`;
  private open: Open | undefined;
  /** Blocks begun. */
  private blocks = 0;

  constructor(served: ServedModel, [choice]: readonly ChoiceJob[], input: MessageShapeInput) {
    this.served = served;
    this.input = input;
    this.promptTokens = choice!.tokens.length;
    this.failure = input.failure;
  }

  /** At once: clients wait for a first event, not for headers. What the prompt costs is known at the end. */
  start(): readonly object[] {
    const usage = usageOf({ promptTokens: this.promptTokens, cachedTokens: 0, tokens: 0, reasoningTokens: 0 });
    return [{ type: "message_start", message: { ...this.message([], null, null), usage } }];
  }

  alive(): readonly object[] {
    return [{ type: "ping" }];
  }

  heard(_: number, events: readonly SpokenEvent[]): readonly object[] {
    const out: object[] = [];
    const begin = (open: Open, block: object): void => {
      out.push(...this.close());
      this.open = open;
      out.push({ type: "content_block_start", index: this.blocks++, content_block: block });
    };
    const delta = (more: object): void => {
      out.push({ type: "content_block_delta", index: this.blocks - 1, delta: more });
    };
    for (const event of events) {
      if (event.kind === "content") {
        if (this.open?.kind !== "content") begin({ kind: "content" }, { type: "text", text: "", citations: null });
        delta({ type: "text_delta", text: event.text });
      } else if (event.kind === "reasoning") {
        if (this.open?.kind !== "reasoning") {
          begin({ kind: "reasoning", hash: createHash("sha256") }, { type: "thinking", thinking: "", signature: "" });
        }
        if (this.open?.kind === "reasoning") this.open.hash.update(event.text);
        if (!this.input.hidden) delta({ type: "thinking_delta", thinking: event.text });
      } else if (event.kind === "call") {
        begin({ kind: "call" }, { type: "tool_use", id: theirId(event.id), name: event.name, input: {}, caller });
      } else if (event.kind === "arguments") delta({ type: "input_json_delta", partial_json: event.text });
      else out.push(...this.close());
    }
    return out;
  }

  end([end]: readonly Ending[]): readonly object[] {
    const { stop_reason, stop_sequence } = this.stop(end!);
    const delta = { stop_reason, stop_sequence, stop_details: null, container: null };
    const last = { type: "message_delta", delta, usage: usageOf(end!), ...warningsOf(end!) };
    return [...this.close(), last, { type: "message_stop" }];
  }

  whole([answer]: readonly WholeReply[]): object {
    const { stop_reason, stop_sequence } = this.stop(answer!);
    const content = answer!.parts.map((part) => this.block(part));
    return { ...this.message(content, stop_reason, stop_sequence), usage: usageOf(answer!), ...warningsOf(answer!) };
  }

  private message(content: readonly object[], stop_reason: string | null, stop_sequence: string | null): object {
    const { id, served } = this;
    return {
      id,
      type: "message",
      role: "assistant",
      model: served.id,
      content,
      stop_reason,
      stop_sequence,
      stop_details: null,
      container: null,
      diagnostics: null,
    };
  }

  private close(): readonly object[] {
    const { open } = this;
    if (open === undefined) return [];
    this.open = undefined;
    const index = this.blocks - 1;
    const signed = { type: "signature_delta", signature: open.kind === "reasoning" ? signatureOf(open.hash) : "" };
    return [
      ...(open.kind === "reasoning" ? [{ type: "content_block_delta", index, delta: signed }] : []),
      { type: "content_block_stop", index },
    ];
  }

  private block(part: SpokenPart): object {
    if (part.kind === "call") {
      return { type: "tool_use", id: theirId(part.id), name: part.name, input: inputOf(part.arguments), caller };
    }
    if (part.kind === "content") return { type: "text", text: part.text, citations: null };
    const signature = signatureOf(createHash("sha256").update(part.text));
    return { type: "thinking", thinking: this.input.hidden ? "" : part.text, signature };
  }

  private stop(end: Ending): { stop_reason: string; stop_sequence: string | null } {
    const { reason, stopText, tokens } = end;
    if (reason === "calls") return { stop_reason: "tool_use", stop_sequence: null };
    if (reason === "stop") {
      return { stop_reason: stopText === undefined ? "end_turn" : "stop_sequence", stop_sequence: stopText ?? null };
    }
    const { maxTokens } = this.input;
    const full = end.outcome.result !== undefined && (maxTokens < 0 || tokens < maxTokens);
    return { stop_reason: full ? "model_context_window_exceeded" : "max_tokens", stop_sequence: null };
  }
}

type Cost = Pick<Ending, "promptTokens" | "cachedTokens" | "tokens" | "reasoningTokens">;

/** Counts tokens that were still there from before apart; nothing is charged for keeping them. */
function usageOf({ promptTokens, cachedTokens, tokens, reasoningTokens }: Cost): object {
  return {
    input_tokens: promptTokens - cachedTokens,
    cache_creation: null,
    cache_creation_input_tokens: 0,
    cache_read_input_tokens: cachedTokens,
    output_tokens: tokens,
    output_tokens_details: { thinking_tokens: reasoningTokens },
    server_tool_use: null,
    service_tier: "standard",
    inference_geo: null,
    speed: null,
  };
}

/** Clients send it back with the thinking; some keep no thinking without one. Nothing here asks for it. */
function signatureOf(hash: Hash): string {
  return hash.digest("base64url");
}

/** The input is an object: arguments that were cut are what can be read of them, which is nothing. */
function inputOf(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return {};
  }
}

function warningsOf({ warnings }: Ending): object {
  return warnings.length === 0 ? {} : { warnings };
}
