/** Talks to the server: JSON requests, and event streams that come back after a failure. */

export class ApiError extends Error {
  readonly status: number;
  readonly code: string | null;

  constructor(status: number, message: string, code: string | null = null) {
    super(message);
    this.name = "ApiError";
    this.status = status;
    this.code = code;
  }
}

const keyName = "hundredweight.key";

/** The server's key, where it asks for one; forgotten with the tab. */
export const apiKey = {
  get: () => sessionStorage.getItem(keyName) ?? undefined,
  set: (key: string) => sessionStorage.setItem(keyName, key),
};

function headers(more: Record<string, string> = {}): Record<string, string> {
  const key = apiKey.get();
  return { ...more, ...(key !== undefined && { authorization: `Bearer ${key}` }) };
}

/** @throws ApiError; status 0 when the server cannot be reached */
export async function request<T>(method: string, path: string, body?: unknown): Promise<T> {
  const init: RequestInit = { method, headers: headers() };
  if (body !== undefined) {
    init.headers = headers({ "content-type": "application/json" });
    init.body = typeof body === "string" ? body : JSON.stringify(body);
  }
  const response = await reach(path, init);
  if (response.status === 204) return undefined as T;
  return (await response.json()) as T;
}

export async function download(path: string): Promise<Blob> {
  return (await reach(path, { headers: headers() })).blob();
}

async function reach(path: string, init: RequestInit): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(path, init);
  } catch (error) {
    if (init.signal?.aborted) throw error;
    throw new ApiError(0, "The server cannot be reached.");
  }
  if (response.ok) return response;
  const text = await response.text().catch(() => "");
  try {
    const { error } = JSON.parse(text) as { error: { message: string; code: string | null } };
    throw new ApiError(response.status, error.message, error.code);
  } catch (error) {
    if (error instanceof ApiError) throw error;
    throw new ApiError(response.status, `The server answered ${response.status}.`);
  }
}

export interface EventsOptions<E> {
  readonly onEvent: (event: E) => void;
  /** Connected or not; not called for what cannot be repaired. */
  readonly onLink?: (linked: boolean) => void;
  /** Gone for good: 401, 404. */
  readonly onRefused?: (error: ApiError) => void;
}

const firstDelayMs = 300;
const maxDelayMs = 8000;
/** It begins at once, and then says something every 10 s. */
const beginMs = 8000;
const silenceMs = 35_000;
const listenEveryMs = 2000;

/**
 * Reads `data:` lines of an event stream, again and again: after a break the server begins with a snapshot. While the
 * page is hidden nothing is read, since a browser has few connections for all its tabs.
 * @returns ends it
 */
export function events<E>(path: string, { onEvent, onLink, onRefused }: EventsOptions<E>): () => void {
  let ended = false;
  let abort = new AbortController();
  let wake: (() => void) | undefined;
  const onVisible = () => {
    if (document.hidden) abort.abort();
    else wake?.();
  };
  const onOnline = () => wake?.();
  document.addEventListener("visibilitychange", onVisible);
  addEventListener("online", onOnline);
  const pause = (ms: number) =>
    new Promise<void>((resolve) => {
      wake = resolve;
      if (ms !== Infinity) setTimeout(resolve, ms);
    });
  const run = async () => {
    for (let delay = firstDelayMs; !ended; delay = Math.min(maxDelayMs, delay * 2)) {
      if (document.hidden) await pause(Infinity);
      if (ended) return;
      abort = new AbortController();
      // By the clock on the wall: timers stand still while a computer sleeps, and its connections die without a word.
      let heard = Date.now();
      let patience = beginMs;
      const listening = setInterval(() => Date.now() - heard > patience && abort.abort(), listenEveryMs);
      try {
        const response = await reach(path, { headers: headers(), signal: abort.signal });
        onLink?.(true);
        patience = silenceMs;
        const take = (event: unknown) => {
          delay = firstDelayMs;
          if (!ended) onEvent(event as E);
        };
        await readEvents(response.body!, take, () => {
          heard = Date.now();
        });
      } catch (error) {
        if (error instanceof ApiError && (error.status === 401 || error.status === 404)) {
          if (!ended) onRefused?.(error);
          return;
        }
      } finally {
        clearInterval(listening);
      }
      if (ended || document.hidden) continue;
      onLink?.(false);
      await pause(delay);
    }
  };
  void run();
  return () => {
    ended = true;
    document.removeEventListener("visibilitychange", onVisible);
    removeEventListener("online", onOnline);
    abort.abort();
    wake?.();
  };
}

async function readEvents(
  body: ReadableStream<Uint8Array>,
  take: (event: unknown) => void,
  onHeard: () => void,
): Promise<void> {
  const reader = body.pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array>).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    onHeard();
    const lines = (rest + value).split("\n");
    rest = lines.pop()!;
    for (const line of lines) if (line.startsWith("data: ")) take(JSON.parse(line.slice(6)));
  }
}
