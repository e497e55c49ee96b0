/** Server-sent events to a reader that may be slow, or gone. */

/** Comments keep proxies and clients from giving up. */
const keepAliveMs = 10_000;
/** Events that wait for a slow reader; beyond, it is sent away and comes back for a snapshot. */
const maxWaiting = 10_000;

export interface EventStreamOptions<E> {
  /** One event instead of two that follow each other, or undefined. */
  readonly merge?: (before: E, after: E) => E | undefined;
  readonly signal: AbortSignal;
}

/**
 * @param subscribe begins sending and gives the way to end it; what it throws becomes the caller's answer
 */
export async function eventStream<E extends { readonly type: string }>(
  subscribe: (send: (event: E) => void) => Promise<() => void> | (() => void),
  { merge, signal }: EventStreamOptions<E>,
): Promise<Response> {
  const encoder = new TextEncoder();
  let waiting: E[] = [];
  let controller: ReadableStreamDefaultController<Uint8Array> | undefined;
  let ended = false;
  const flush = () => {
    if (controller === undefined || ended || waiting.length === 0 || (controller.desiredSize ?? 0) <= 0) return;
    const text = waiting.map((event) => `data: ${JSON.stringify(event)}\n\n`).join("");
    waiting = [];
    controller.enqueue(encoder.encode(text));
  };
  let unsubscribe = () => {};
  const end = (tell: boolean) => {
    if (ended) return;
    ended = true;
    clearInterval(timer);
    signal.removeEventListener("abort", onAbort);
    unsubscribe();
    if (tell) controller?.close();
  };
  const onAbort = () => end(true);
  const send = (event: E) => {
    if (ended) return;
    const last = waiting.at(-1);
    const merged = last === undefined ? undefined : merge?.(last, event);
    if (merged !== undefined) waiting[waiting.length - 1] = merged;
    else waiting.push(event);
    if (waiting.length > maxWaiting) end(true);
    else flush();
  };
  const timer = setInterval(() => {
    if (!ended && (controller?.desiredSize ?? 0) > 0) controller?.enqueue(encoder.encode(": waiting\n\n"));
  }, keepAliveMs);
  timer.unref();
  try {
    unsubscribe = await subscribe(send);
  } catch (error) {
    end(false);
    throw error;
  }
  if (signal.aborted) end(false);
  else signal.addEventListener("abort", onAbort);
  const body = new ReadableStream<Uint8Array>(
    {
      start(given) {
        controller = given;
        if (ended) controller.close();
        else flush();
      },
      pull: flush,
      cancel: () => end(false),
    },
    { highWaterMark: 1 },
  );
  return new Response(body, {
    headers: {
      "content-type": "text/event-stream; charset=utf-8",
      "cache-control": "no-store",
      "x-accel-buffering": "no",
      "x-content-type-options": "nosniff",
    },
  });
}
