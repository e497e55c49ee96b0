/** Lines of a file of any size, and what a batch line says. */
import { createReadStream } from "node:fs";
import { fileError } from "../../errors.js";

/** A longer line is no request: it gets an error line and is never held in memory. */
export const mostLineBytes = 8 * 2 ** 20;

export interface Line {
  /** From 1, empty lines counted. */
  readonly number: number;
  /** Undefined: longer than `mostLineBytes`. */
  readonly text: string | undefined;
}

/** Lines that are not empty. @throws FILE_NOT_FOUND, FILE_IO */
export async function* readLines(path: string): AsyncGenerator<Line> {
  let number = 0;
  let parts: Buffer[] = [];
  let bytes = 0;
  const take = (): Line => {
    const text = bytes > mostLineBytes ? undefined : Buffer.concat(parts).toString("utf8").trim();
    parts = [];
    bytes = 0;
    return { number: ++number, text };
  };
  const add = (part: Buffer): void => {
    bytes += part.length;
    if (bytes <= mostLineBytes) parts.push(part);
    else parts = [];
  };
  try {
    for await (const chunk of createReadStream(path, { highWaterMark: 2 ** 18 }) as AsyncIterable<Buffer>) {
      let from = 0;
      for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, from)) {
        add(chunk.subarray(from, end));
        from = end + 1;
        const line = take();
        if (line.text !== "") yield line;
      }
      if (from < chunk.length) add(Buffer.from(chunk.subarray(from)));
    }
  } catch (error) {
    throw fileError(path, error);
  }
  if (bytes > 0) {
    const line = take();
    if (line.text !== "") yield line;
  }
}

export const batchUrls = ["/v1/chat/completions", "/v1/completions", "/v1/embeddings"] as const;

export interface BatchRequest {
  readonly customId: string;
  readonly url: (typeof batchUrls)[number];
  readonly body: Readonly<Record<string, unknown>>;
}

export interface BadLine {
  readonly customId: string | null;
  readonly fault: string;
}

export function parseLine({ text }: Line): BatchRequest | BadLine {
  if (text === undefined) return { customId: null, fault: `the line is longer than ${mostLineBytes} bytes` };
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return { customId: null, fault: `no JSON: ${(error as Error).message.slice(0, 200)}` };
  }
  if (!isObject(value)) return { customId: null, fault: "a JSON object is expected" };
  const { custom_id: customId, method = "POST", url, body } = value;
  if (typeof customId !== "string" || customId === "")
    return { customId: null, fault: "custom_id: a text is expected" };
  if (method !== "POST") return { customId, fault: "method: POST is expected" };
  const known = batchUrls.find((one) => one === url);
  if (known === undefined) return { customId, fault: `url: one of ${batchUrls.join(", ")} is expected` };
  if (!isObject(body)) return { customId, fault: "body: an object is expected" };
  if (body.stream === true) return { customId, fault: "body.stream: a batch line is answered in one piece" };
  return { customId, url: known, body };
}

/** Positions an answer of a line may take, a token being 3 bytes or more. An estimate, to plan with. */
export function estimateTokens({ body, url }: BatchRequest, maxTokens: number): number {
  const prompt = Math.ceil(Buffer.byteLength(JSON.stringify(body.messages ?? body.prompt ?? body.input ?? "")) / 3);
  if (url === "/v1/embeddings") return prompt;
  const answer = Number(body.max_completion_tokens ?? body.max_tokens ?? maxTokens);
  return prompt + (answer >= 0 ? answer : maxTokens);
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
