/** Shapes an answer as a response: its items, whole and as events that are numbered. */
import type { ChoiceJob, Progress } from "../answers/answer-set.js";
import { piecesOf } from "../answers/pieces.js";
import { namedEvents } from "../answers/wire.js";
import { type Ending, type ExchangeShape, type SpokenEvent, SpokenParts, type WholeReply } from "../exchange/events.js";
import type { HttpError } from "../http/http-error.js";
import { chatLogprobs, idsOf } from "../openai/logprobs.js";
import { promptProgressOf, RunningTimings, timingsOf } from "../openai/usage.js";
import type { ServedModel } from "../service/model-service.js";
import { newId } from "./read-request.js";
import type { InnerNames } from "./read-tools.js";
import type { Item } from "./request.js";
import { type ItemStatus, itemOf, prefixes, type ReasoningForm, textPart, usageOf } from "./response-object.js";

export interface ResponseShapeInput {
  readonly id: string;
  readonly model: string;
  /** Fields that repeat the request. */
  readonly echo: object;
  readonly names: InnerNames;
  readonly reasoning: ReasoningForm;
  /** Whether it tells how fast texts come, and how far the prompt is read, as llama-server does. */
  readonly tells: { readonly timings: boolean; readonly progress: boolean };
  /** Called with the finished response. @returns whether it is stored */
  keep(response: Response): boolean;
}

type Response = Readonly<Record<string, unknown>> & { readonly id: string; readonly output: readonly Item[] };

/** The item that is being written. */
interface Open {
  readonly kind: "content" | "reasoning" | "call";
  readonly id: string;
  readonly parts: SpokenParts;
  /** Log-probabilities of the tokens of a text, when they were asked for. */
  readonly logprobs: object[];
}

type Lookup = Parameters<typeof chatLogprobs>[1];

export class ResponseShape implements ExchangeShape {
  readonly wire = namedEvents;
  private readonly input: ResponseShapeInput;
  private readonly created = Math.floor(Date.now() / 1000);
  private readonly output: Item[] = [];
  private open: Open | undefined;
  private sequence = 0;
  private running = new RunningTimings([]);
  private text: ServedModel["text"] | undefined;

  constructor(input: ResponseShapeInput) {
    this.input = input;
  }

  /** @returns this shape, for the model that answers */
  for({ text }: ServedModel, choices: readonly ChoiceJob[]): ResponseShape {
    this.text = text;
    this.running = new RunningTimings(choices);
    return this;
  }

  made(): void {
    this.running.token();
  }

  progress(progress: Progress, elapsedMs: number): object | undefined {
    this.running.progress(progress);
    if (!this.input.tells.progress) return undefined;
    const more = { response: this.response("in_progress"), prompt_progress: promptProgressOf(progress, elapsedMs) };
    return this.event("response.in_progress", more);
  }

  start(): readonly object[] {
    const response = this.response("in_progress");
    return [this.event("response.created", { response }), this.event("response.in_progress", { response })];
  }

  alive(): readonly object[] {
    return [this.event("response.in_progress", { response: this.response("in_progress") })];
  }

  heard(_: number, events: readonly SpokenEvent[]): readonly object[] | Promise<readonly object[]> {
    const tokens = events.flatMap((event) => (event.kind === "content" ? (event.tokens ?? []) : []));
    return this.withTexts(idsOf(tokens), (lookup) => this.tell(events, lookup));
  }

  private tell(events: readonly SpokenEvent[], lookup: Lookup): readonly object[] {
    const out: object[] = [];
    for (const event of events) {
      const kind = event.kind === "content" || event.kind === "reasoning" ? event.kind : "call";
      if (event.kind === "call" || this.open?.kind !== kind) {
        if (event.kind === "arguments" || event.kind === "callEnd") continue;
        out.push(...this.close("completed"), ...this.begin(event));
      }
      const { open } = this;
      if (open === undefined) continue;
      if (event.kind === "content") open.parts.add([{ kind: event.kind, text: event.text }]);
      else if (event.kind !== "call") open.parts.add([event]);
      const logprobs = event.kind === "content" ? chatLogprobs(event.tokens ?? [], lookup).content : [];
      open.logprobs.push(...logprobs);
      if (event.kind === "callEnd") {
        out.push(...this.close(event.whole ? "completed" : "incomplete"));
      } else if (event.kind !== "call") out.push(this.event(...this.deltaOf(open, event.text, logprobs)));
    }
    return out;
  }

  end([end]: readonly Ending[]): readonly object[] {
    const closing = this.close(end!.reason === "length" ? "incomplete" : "completed");
    const response = this.finished(end!);
    const timings = this.input.tells.timings ? timingsOf([end!.outcome]) : {};
    return [...closing, this.event(`response.${response.status}`, { response, ...timings })];
  }

  whole([answer]: readonly WholeReply[]): object | Promise<object> {
    const { parts, reason } = answer!;
    const { names, reasoning } = this.input;
    const tokens = parts.flatMap((part) => (part.kind === "content" ? (part.tokens ?? []) : []));
    return this.withTexts(idsOf(tokens), (lookup) => {
      for (const [i, part] of parts.entries()) {
        const status = reason === "length" && i === parts.length - 1 ? "incomplete" : "completed";
        const prefix = part.kind === "call" && part.custom ? prefixes.custom : prefixes[part.kind];
        const logprobs = part.kind === "content" ? chatLogprobs(part.tokens ?? [], lookup).content : [];
        this.output.push(itemOf(part, newId(prefix), status, names, reasoning, logprobs));
      }
      return this.finished(answer!);
    });
  }

  private withTexts<T>(ids: readonly number[], make: (lookup: Lookup) => T): T | Promise<T> {
    if (ids.length === 0) return make(noText);
    const found = piecesOf(this.text!).of(ids);
    return found instanceof Promise ? found.then(make) : make(found);
  }

  failure(error: HttpError, stream: boolean): object {
    const { code, message } = error;
    const response = { ...this.response("failed"), error: { code: code ?? "server_error", message } };
    return stream ? this.event("response.failed", { response }) : response;
  }

  /** A response that failed before anything was made: its stream as a whole. */
  failed(error: HttpError): string {
    return [...this.start(), this.failure(error, true)].map((part) => this.wire.frame(part)).join("");
  }

  private event(type: string, more: object): object {
    return { type, sequence_number: this.sequence++, ...more };
  }

  private begin(event: SpokenEvent): readonly object[] {
    const kind = event.kind === "content" || event.kind === "reasoning" ? event.kind : "call";
    const custom = event.kind === "call" && event.custom;
    const parts = new SpokenParts();
    parts.add(event.kind === "call" ? [event] : [{ kind: event.kind, text: "" } as SpokenEvent]);
    const open: Open = { kind, id: newId(custom ? prefixes.custom : prefixes[kind]), parts, logprobs: [] };
    this.open = open;
    const added = this.event("response.output_item.added", {
      output_index: this.output.length,
      item: this.item(open, "in_progress"),
    });
    if (kind === "call") return [added];
    if (kind === "reasoning" && this.input.reasoning.summary) {
      const part = { type: "summary_text", text: "" };
      return [added, this.event("response.reasoning_summary_part.added", { ...this.at(open, "summary_index"), part })];
    }
    const part = kind === "content" ? textPart("") : { type: "reasoning_text", text: "" };
    return [added, this.event("response.content_part.added", { ...this.at(open, "content_index"), part })];
  }

  private deltaOf(open: Open, delta: string, logprobs: readonly object[]): [type: string, more: object] {
    if (open.kind === "content") {
      const timings = this.input.tells.timings ? { timings: this.running.now } : {};
      return ["response.output_text.delta", { ...this.at(open, "content_index"), delta, logprobs, ...timings }];
    }
    if (open.kind === "reasoning") {
      return this.input.reasoning.summary
        ? ["response.reasoning_summary_text.delta", { ...this.at(open, "summary_index"), delta }]
        : ["response.reasoning_text.delta", { ...this.at(open, "content_index"), delta }];
    }
    const custom = this.item(open, "in_progress").type === "custom_tool_call";
    return [
      `response.${custom ? "custom_tool_call_input" : "function_call_arguments"}.delta`,
      { ...this.at(open), delta },
    ];
  }

  private close(status: ItemStatus): readonly object[] {
    const { open } = this;
    if (open === undefined) return [];
    this.open = undefined;
    const item = this.item(open, status);
    const events = this.closing(open, item);
    const done = this.event("response.output_item.done", { output_index: this.output.length, item });
    this.output.push(item);
    return [...events, done];
  }

  private closing(open: Open, item: Item): readonly object[] {
    const [part] = open.parts.list;
    if (part === undefined) return [];
    if (part.kind === "call") {
      const { name, input, arguments: json } = item;
      return part.custom
        ? [this.event("response.custom_tool_call_input.done", { ...this.at(open), input })]
        : [this.event("response.function_call_arguments.done", { ...this.at(open), name, arguments: json })];
    }
    const { text } = part;
    if (part.kind === "content") {
      const at = this.at(open, "content_index");
      return [
        this.event("response.output_text.done", { ...at, text, logprobs: open.logprobs }),
        this.event("response.content_part.done", { ...at, part: textPart(text, open.logprobs) }),
      ];
    }
    if (this.input.reasoning.summary) {
      const at = this.at(open, "summary_index");
      return [
        this.event("response.reasoning_summary_text.done", { ...at, text }),
        this.event("response.reasoning_summary_part.done", { ...at, part: { type: "summary_text", text } }),
      ];
    }
    const at = this.at(open, "content_index");
    return [
      this.event("response.reasoning_text.done", { ...at, text }),
      this.event("response.content_part.done", { ...at, part: { type: "reasoning_text", text } }),
    ];
  }

  /** Where an event belongs. */
  private at({ id }: Open, index?: "content_index" | "summary_index"): object {
    return { item_id: id, output_index: this.output.length, ...(index !== undefined && { [index]: 0 }) };
  }

  private item({ id, parts, logprobs }: Open, status: ItemStatus): Item {
    const { names, reasoning } = this.input;
    return itemOf(parts.list[0]!, id, status, names, reasoning, logprobs);
  }

  private response(status: string): Response & { readonly status: string } {
    const { id, model, echo } = this.input;
    return {
      id,
      object: "response",
      created_at: this.created,
      completed_at: null,
      status,
      error: null,
      incomplete_details: null,
      model,
      output: [...this.output],
      ...echo,
    };
  }

  private finished(end: Ending): ReturnType<ResponseShape["response"]> {
    const { reason, warnings } = end;
    const cut = reason === "length";
    const response = {
      ...this.response(cut ? "incomplete" : "completed"),
      ...(cut && { incomplete_details: { reason: "max_output_tokens" } }),
      ...(!cut && { completed_at: Math.floor(Date.now() / 1000) }),
      usage: usageOf(end),
      ...(warnings.length > 0 && { warnings }),
    };
    // One that is too large is not stored, and says so.
    return this.input.keep(response) ? response : { ...response, store: false };
  }
}

/** Where no token is told of. */
const noText: Lookup = () => {
  throw new Error("no token was looked up");
};
