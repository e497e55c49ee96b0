/** A line of answer, in OpenAI's format, and where it goes. */
import { once } from "node:events";

export interface OutputLine {
  readonly id: string;
  readonly custom_id: string | null;
  readonly response: { readonly status_code: number; readonly request_id: string; readonly body: unknown } | null;
  readonly error: { readonly code: string; readonly message: string } | null;
  /** Ours: what was asked, so that an answer is never taken for that of another question. 32 hexadecimal digits. */
  readonly request_hash: string;
}

/** Longer answers could not be read again. */
export const maxAnswerBytes = 2 ** 28;

export const idOf = (line: number): string => `batch_req_${line}`;

export function isFailure({ response, error }: Pick<OutputLine, "response" | "error">): boolean {
  return response === null || response.status_code >= 400 || error !== null;
}

export interface BatchOutput {
  /** @throws FILE_IO */
  append(line: Buffer): void | Promise<void>;
  /** Makes what was appended as durable as it gets. @throws FILE_IO */
  flush(): Promise<void>;
  /** Everything is written afterwards. @throws FILE_IO */
  close(): Promise<void>;
}

/** Nothing is resumed; a reader who is slow is waited for. */
export const standardOutput: BatchOutput = {
  append: async (line) => {
    if (!process.stdout.write(line)) await once(process.stdout, "drain");
  },
  flush: () => new Promise((resolve) => process.stdout.write("", () => resolve())),
  close: () => standardOutput.flush(),
};

/** One line of the file, with its line feed. What is too long to be read again becomes an error. */
export function encodeLine(line: OutputLine): { bytes: Buffer; failed: boolean } {
  let text: string | undefined;
  try {
    text = JSON.stringify(line);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error; // longer than a text may be
  }
  if (text !== undefined && Buffer.byteLength(text) <= maxAnswerBytes)
    return { bytes: Buffer.from(`${text}\n`), failed: isFailure(line) };
  const error = { code: "answer_too_long", message: `the answer is longer than ${maxAnswerBytes} bytes` };
  return { bytes: Buffer.from(`${JSON.stringify({ ...line, response: null, error })}\n`), failed: true };
}
