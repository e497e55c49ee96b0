/** A conversation as it is given to templates. */
import { HundredweightError } from "../errors.js";

export interface ContentPart {
  readonly type: string;
  readonly text?: string;
  readonly [key: string]: unknown;
}

/** As in the OpenAI API; templates may read further fields. */
export interface ChatMessage {
  readonly role: string;
  readonly content?: string | readonly ContentPart[] | null;
  readonly [key: string]: unknown;
}

/** A part of a prompt. */
export interface Segment {
  readonly text: string;
  /** A person wrote it: no control token is recognised in it. */
  readonly user: boolean;
}

/** Templates build tokens from roles (`'<|' + role + '|>'`), so a role is a plain word. @throws TEMPLATE_INVALID */
export function checkRoles(messages: readonly ChatMessage[]): void {
  messages.forEach((message, i) => {
    if (typeof message?.role !== "string" || !/^[A-Za-z][A-Za-z0-9_-]{0,63}$/.test(message.role)) {
      throw templateFault(`message ${i + 1} has no usable role: write system, user, assistant or tool`);
    }
  });
}

export function templateFault(message: string, details: Record<string, unknown> = {}): HundredweightError {
  return new HundredweightError("TEMPLATE_INVALID", `chat template: ${message}`, details);
}
