/** The errors a template can make, by the names Python gives it; the caller turns them into errors of the product. */

export type FaultKind =
  | "TemplateSyntaxError"
  | "UndefinedError"
  | "SecurityError"
  | "TypeError"
  | "ValueError"
  | "KeyError"
  | "IndexError"
  | "OverflowError"
  | "ZeroDivisionError"
  /** The template's own raise_exception. */
  | "TemplateError"
  /** One of our limits: steps, time, depth or size. */
  | "LimitError";

/** Which of our limits a template passed. */
export type PassedLimit = "time" | "memory" | "depth";

export class TemplateFault extends Error {
  readonly kind: FaultKind;
  /** The limit of a LimitError. */
  readonly limit: PassedLimit | undefined;

  constructor(kind: FaultKind, message: string, limit?: PassedLimit) {
    super(message);
    this.limit = limit;
    this.name = kind;
    this.kind = kind;
  }
}

export const typeError = (message: string): TemplateFault => new TemplateFault("TypeError", message);
export const valueError = (message: string): TemplateFault => new TemplateFault("ValueError", message);
export const undefinedError = (message: string): TemplateFault => new TemplateFault("UndefinedError", message);
