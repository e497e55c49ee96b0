/** Faults of a text that are no mistake of the caller: time, memory, size. */
import { HundredweightError } from "../errors.js";
import { type TextRequest, usesTemplate } from "./protocol.js";

/** In `details.fault`, for whoever speaks another protocol: a server's codes are these. */
export type TextFaultKind = "template_timeout" | "text_timeout" | "text_memory" | "text_ended" | "text_crowded";

/** A template's fault is the file's; what a tokenizer cannot do in time or memory is the text's. */
function fault(request: TextRequest | undefined, kind: TextFaultKind, message: string): HundredweightError {
  const template = request !== undefined && usesTemplate(request);
  const subject = request === undefined ? "opening the vocabulary" : template ? "the chat template" : "the tokenizer";
  const code = template ? "TEMPLATE_INVALID" : "TEXT_INVALID";
  return new HundredweightError(code, `${subject} of the model ${message}`, { fault: kind });
}

export function tookTooLong(request: TextRequest | undefined, ms: number, others = false): HundredweightError {
  const kind = request !== undefined && usesTemplate(request) ? "template_timeout" : "text_timeout";
  const seconds = ms < 1000 ? (ms / 1000).toFixed(1) : String(Math.round(ms / 100) / 10);
  return fault(request, kind, `did not end within ${seconds} s${others ? " while others waited" : ""}`);
}

/** Nothing is wrong with the text: others had the place, or the processor. */
export function wasCrowded(request: TextRequest | undefined): HundredweightError {
  return fault(request, "text_crowded", "had no time for this text, others took it; try again");
}

export function tookTooMuch(request: TextRequest | undefined): HundredweightError {
  return fault(request, "text_memory", "needed more memory than a request may take");
}

export function madeTooLong(): HundredweightError {
  return new HundredweightError("TEMPLATE_INVALID", "the chat template makes a text far longer than any prompt");
}

export function endedUnexpectedly(request: TextRequest | undefined, why: string): HundredweightError {
  return fault(request, "text_ended", `could not be asked: ${why}`);
}

export function isClosed(): HundredweightError {
  return new HundredweightError("ENGINE_CLOSED", "the model is closed");
}
