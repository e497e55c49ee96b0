/** A file on another computer, read in ranges, and what is checked of every answer. */
import { HundredweightError } from "../../errors.js";
import { type Credentials, discard, request, retryAfter } from "./http.js";
import { PassingFailure } from "./persist.js";
import { type Asked, isPassing, refusal } from "./refusals.js";

export interface RemoteFile {
  /** Below the repository's folder, with slashes; checked. */
  readonly file: string;
  readonly url: URL;
  readonly credentials: Credentials;
  /** For sentences about what is refused. */
  readonly asked: Asked;
  readonly bytes: number;
  readonly sha256?: string;
  /** The hash that git has of small files: SHA-1 over `blob <bytes>\0` and the bytes. */
  readonly gitSha1?: string;
}

/** A part of a file that has begun to come. */
export interface OpenedRange {
  /** The server knows no ranges and gives the whole file from its beginning. */
  readonly whole: boolean;
  /** Behind the last byte. */
  readonly to: number;
  readonly etag: string | undefined;
  readonly body: ReadableStream<Uint8Array>;
}

/**
 * Asks for the bytes [from, to).
 *
 * The address that a hub redirects to is signed and short-lived: it is kept for a file's next parts, and asked for anew
 * when it is refused.
 */
export class RangeReader {
  readonly file: RemoteFile;
  #at: URL | undefined;

  constructor(file: RemoteFile) {
    this.file = file;
  }

  /** @throws PassingFailure; HUB_REFUSED, NETWORK_FAILED, CANCELLED */
  async open(from: number, to: number, signal: AbortSignal): Promise<OpenedRange> {
    const { file } = this;
    const headers = { range: `bytes=${from}-${to - 1}` };
    const kept = this.#at;
    const { response, url } = await this.#ask(kept ?? file.url, headers, signal);
    if (response.status === 200 || response.status === 206) {
      this.#at = url;
      return this.#opened(response, from, to);
    }
    await discard(response);
    this.#at = undefined;
    // The signature ran out.
    if (kept !== undefined && kept !== file.url) return this.open(from, to, signal);
    const error = refusal(response, file.asked);
    if (!isPassing(response.status)) throw error;
    throw new PassingFailure(error, retryAfter(response));
  }

  async #ask(url: URL, headers: Record<string, string>, signal: AbortSignal) {
    try {
      return await request(url, this.file.credentials, { headers, signal });
    } catch (error) {
      if (error instanceof HundredweightError && error.code === "NETWORK_FAILED") throw new PassingFailure(error);
      throw error;
    }
  }

  async #opened(response: Response, from: number, to: number): Promise<OpenedRange> {
    const { bytes, file, url } = this.file;
    const etag = response.headers.get("etag") ?? undefined;
    const lies = async (what: string): Promise<never> => {
      await discard(response);
      throw new PassingFailure(new HundredweightError("NETWORK_FAILED", `${file}: ${url.host} ${what}`));
    };
    const encoding = response.headers.get("content-encoding");
    if (encoding !== null && encoding !== "identity") return lies(`sends it packed (${encoding.slice(0, 40)})`);
    const body = response.body as ReadableStream<Uint8Array> | null;
    if (body === null) return lies("sends nothing");
    if (response.status === 200) {
      const length = response.headers.get("content-length");
      if (length !== null && Number(length) !== bytes) return lies(`sends ${length} bytes, not the ${bytes} announced`);
      return { whole: true, to: bytes, etag, body };
    }
    const range = response.headers.get("content-range") ?? "";
    const [, first, last, total] = /^bytes (\d{1,16})-(\d{1,16})\/(\d{1,16}|\*)$/.exec(range.trim()) ?? [];
    const end = Number(last) + 1;
    const sound = Number(first) === from && end > from && end <= to && (total === "*" || Number(total) === bytes);
    if (!sound) return lies(`was asked for bytes ${from}-${to - 1} of ${bytes} and sends '${range.slice(0, 80)}'`);
    return { whole: false, to: end, etag, body };
  }
}
