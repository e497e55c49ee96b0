/**
 * Requests to hubs. Redirects are followed here and not by `fetch`, so that the token goes to the hub's own origin and
 * to nobody else, whatever a redirect says.
 */
import { HundredweightError } from "../../errors.js";
import { packageVersion } from "../../package-root.js";

export interface Credentials {
  /** `https://huggingface.co`: scheme, host and port that the token belongs to. */
  readonly origin: string;
  readonly token: string | undefined;
}

export interface RequestOptions {
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
  /** Redirects that are followed; 0: the first answer is given back. */
  readonly redirects?: number;
}

export interface HttpReply {
  readonly response: Response;
  /** The address that answered at last. */
  readonly url: URL;
}

const usualRedirects = 5;
const loopback = /^(localhost|127(\.\d+){3}|\[::1\])$/i;

/**
 * @throws NETWORK_FAILED when nobody answers, for a redirect to where nothing is fetched from, and too many of them;
 *   CANCELLED
 */
export async function request(url: URL, credentials: Credentials, options: RequestOptions): Promise<HttpReply> {
  let at = url;
  for (let left = options.redirects ?? usualRedirects; ; left--) {
    const own = at.origin === credentials.origin && credentials.token !== undefined;
    const headers: Record<string, string> = {
      "user-agent": `hundredweight/${packageVersion()}`,
      // Packed bytes would not be those of the file.
      "accept-encoding": "identity",
      ...options.headers,
      ...(own && { authorization: `Bearer ${credentials.token}` }),
    };
    const response = await fetch(at, { headers, redirect: "manual", signal: options.signal }).catch(
      (error: unknown) => {
        throw unreachable(at, error, options.signal);
      },
    );
    const location = response.headers.get("location");
    if (response.status < 300 || response.status > 399 || location === null) return { response, url: at };
    if (left <= 0) {
      if (options.redirects === 0) return { response, url: at };
      await discard(response);
      throw new HundredweightError("NETWORK_FAILED", `${url.host}: redirects go on and on`);
    }
    await discard(response);
    at = redirected(at, location);
  }
}

/** @throws NETWORK_FAILED for what is no place to fetch from */
export function redirected(from: URL, location: string): URL {
  const to = URL.canParse(location, from.href) ? new URL(location, from) : undefined;
  if (to === undefined || !/^https?:$/.test(to.protocol))
    throw new HundredweightError("NETWORK_FAILED", `${from.host}: redirects to '${location.slice(0, 100)}'`);
  if (from.protocol === "https:" && to.protocol === "http:" && !loopback.test(to.hostname))
    throw new HundredweightError("NETWORK_FAILED", `${from.host}: redirects from https to http (${to.host})`);
  return to;
}

/** Takes no more of a body. */
export async function discard(response: Response): Promise<void> {
  await response.body?.cancel().catch(() => {});
}

function unreachable(url: URL, error: unknown, signal: AbortSignal): HundredweightError {
  if (signal.aborted && signal.reason instanceof HundredweightError) return signal.reason;
  if (signal.aborted) return new HundredweightError("CANCELLED", "stopped by the caller");
  // undici says "fetch failed", and the reason behind it.
  const cause = (error as Error).cause ?? error;
  const { code, message } = cause as NodeJS.ErrnoException;
  const reason =
    code === "ENOTFOUND" || code === "EAI_AGAIN" ? "no such host, or no network" : (message ?? String(cause));
  return new HundredweightError(
    "NETWORK_FAILED",
    `${url.host} cannot be reached: ${reason || code}`,
    {},
    { cause: error },
  );
}

/**
 * The JSON of an answer.
 * @param most bytes
 * @throws NETWORK_FAILED for what is longer, cut off or no JSON
 */
export async function readJson(response: Response, url: URL, most: number): Promise<unknown> {
  const parts: Uint8Array[] = [];
  let bytes = 0;
  try {
    for await (const part of response.body ?? []) {
      bytes += part.length;
      if (bytes > most)
        throw new HundredweightError("NETWORK_FAILED", `${url.host}: an answer of more than ${most} bytes`);
      parts.push(part);
    }
    return JSON.parse(Buffer.concat(parts).toString("utf8"));
  } catch (error) {
    if (error instanceof HundredweightError) throw error;
    const what = error instanceof SyntaxError ? "an answer that is no JSON" : "the answer was cut off";
    throw new HundredweightError("NETWORK_FAILED", `${url.host}: ${what}`, {}, { cause: error });
  }
}

/** Seconds that an answer asks to wait: a number, or a date. Undefined: it does not say. */
export function retryAfter(response: Response, now = Date.now()): number | undefined {
  const text = response.headers.get("retry-after")?.trim();
  if (text === undefined || text === "") return undefined;
  if (/^\d{1,9}$/.test(text)) return Number(text);
  const date = Date.parse(text);
  return Number.isNaN(date) ? undefined : Math.max(0, (date - now) / 1000);
}
