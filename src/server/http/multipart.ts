/** Reads forms with files as they arrive: a file goes piece by piece to where it is kept, and is never held whole. */
import type { Context } from "hono";
import { HttpError, wrongField } from "./http-error.js";

export interface FormOptions {
  /** Bytes of the whole body. */
  readonly maxBytes: number;
  /** Called for each part with a file name; takes its bytes. */
  onFile(name: string, filename: string): (bytes: Buffer) => Promise<void>;
}

const maxFieldBytes = 4096;
const maxHeaderBytes = 4096;
const maxParts = 32;
const headersEnd = Buffer.from("\r\n\r\n");

/**
 * @returns the fields without files
 * @throws HttpError 400 for what is no form, 413 beyond `maxBytes`
 */
export async function readForm(c: Context, options: FormOptions): Promise<ReadonlyMap<string, string>> {
  const type = c.req.header("content-type") ?? "";
  const [, quoted, plain] = /^multipart\/form-data\s*;.*?boundary=(?:"([^"]{1,70})"|([^;\s"]{1,70}))/i.exec(type) ?? [];
  const boundary = quoted ?? plain;
  if (boundary === undefined) throw broken("a form is expected: multipart/form-data with a boundary");
  const reader = c.req.raw.body?.getReader();
  if (reader === undefined) throw broken("the request has no body");
  const form = new Form(boundary, options);
  try {
    let bytes = 0;
    for (let part = await next(reader); part !== undefined; part = await next(reader)) {
      bytes += part.length;
      if (bytes > options.maxBytes)
        throw new HttpError(413, `the file is larger than ${options.maxBytes} bytes`, { code: "file_too_large" });
      await form.push(part);
    }
    return form.end();
  } catch (error) {
    void reader.cancel().catch(() => {});
    throw error;
  }
}

async function next(reader: ReadableStreamDefaultReader<Uint8Array>): Promise<Buffer | undefined> {
  try {
    const { done, value } = await reader.read();
    return done ? undefined : Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  } catch {
    throw new HttpError(400, "the request ended before its body", { code: "body_incomplete" });
  }
}

class Form {
  private readonly fields = new Map<string, string>();
  private readonly delimiter: Buffer;
  private readonly options: FormOptions;
  /** As if the first boundary had a line before it. */
  private held: Buffer = Buffer.from("\r\n");
  private state: "before" | "delimited" | "headers" | "body" | "over" = "before";
  private take: (bytes: Buffer) => Promise<void> = async () => {};
  private parts = 0;

  constructor(boundary: string, options: FormOptions) {
    this.delimiter = Buffer.from(`\r\n--${boundary}`);
    this.options = options;
  }

  async push(bytes: Buffer): Promise<void> {
    this.held = Buffer.concat([this.held, bytes]);
    while (this.state !== "over" && (await this.step())) {}
    if (this.state === "over") this.held = Buffer.alloc(0);
  }

  end(): ReadonlyMap<string, string> {
    if (this.state !== "over") throw new HttpError(400, "the form has no end", { code: "body_incomplete" });
    return this.fields;
  }

  /** @returns whether there may be more to do with what is held */
  private async step(): Promise<boolean> {
    const { held, delimiter } = this;
    if (this.state === "before" || this.state === "body") {
      const at = held.indexOf(delimiter);
      const end = at < 0 ? Math.max(0, held.length - delimiter.length + 1) : at;
      if (this.state === "body" && end > 0) await this.take(held.subarray(0, end));
      this.held = held.subarray(at < 0 ? end : at + delimiter.length);
      if (at >= 0) this.state = "delimited";
      return at >= 0;
    }
    if (this.state === "delimited") {
      if (held.length < 2) return false;
      const mark = held.toString("latin1", 0, 2);
      if (mark !== "--" && mark !== "\r\n") throw broken("a boundary of the form is followed by something else");
      this.held = held.subarray(mark === "--" ? 2 : 0);
      this.state = mark === "--" ? "over" : "headers";
      return true;
    }
    const at = held.indexOf(headersEnd);
    if (at > maxHeaderBytes || (at < 0 && held.length > maxHeaderBytes)) throw broken("a part's headers are too long");
    if (at < 0) return false;
    this.begin(held.toString("utf8", 0, at));
    this.held = held.subarray(at + headersEnd.length);
    // An empty part's boundary begins with the line feed that ends its headers.
    if (this.held.subarray(0, delimiter.length - 2).equals(delimiter.subarray(2)))
      this.held = Buffer.concat([Buffer.from("\r\n"), this.held]);
    this.state = "body";
    return true;
  }

  private begin(headers: string): void {
    if (++this.parts > maxParts) throw broken(`the form has more than ${maxParts} parts`);
    const line = /^content-disposition:\s*form-data\s*;(.*)$/im.exec(headers)?.[1] ?? "";
    const of = (name: string): string | undefined =>
      new RegExp(`(?:^|[;\\s])${name}="((?:[^"\\\\]|\\\\.)*)"`, "i").exec(line)?.[1];
    const name = of("name");
    if (name === undefined) throw broken("a part of the form has no name");
    const filename = of("filename");
    if (filename !== undefined) {
      this.take = this.options.onFile(name, filename);
      return;
    }
    this.fields.set(name, "");
    this.take = async (bytes) => {
      const text = this.fields.get(name)! + bytes.toString("utf8");
      if (text.length > maxFieldBytes) throw wrongField(name.slice(0, 100), `${name.slice(0, 100)}: is too long`);
      this.fields.set(name, text);
    };
  }
}

function broken(message: string): HttpError {
  return new HttpError(400, message, { code: "invalid_form" });
}
