/** What a template can do wrong, by the names Python gives it; the caller turns them into errors of the product. */

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

export class TemplateFault extends Error {
  readonly kind: FaultKind;

  constructor(kind: FaultKind, message: string) {
    super(message);
    this.name = kind;
    this.kind = kind;
  }
}

export const typeError = (message: string): TemplateFault => new TemplateFault("TypeError", message);
export const valueError = (message: string): TemplateFault => new TemplateFault("ValueError", message);
export const undefinedError = (message: string): TemplateFault => new TemplateFault("UndefinedError", message);
