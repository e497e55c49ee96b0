/**
 * Connections to the queue. BullMQ and ioredis are loaded here and nowhere else, and only when a queue is asked for:
 * they are optional packages.
 */
import type * as BullMq from "bullmq";
import type * as IoRedis from "ioredis";
import { HundredweightError } from "../errors.js";
import type { QueueAddress } from "./queue-url.js";

export type Bull = typeof BullMq;
export type Redis = IoRedis.Redis;

/** Before all names of ours in Redis. */
export const prefix = "hundredweight";

const connectMs = 5000;
/** Between tries to reach it again. */
const longestWaitMs = 2000;

export interface QueueConnection {
  readonly bull: Bull;
  readonly redis: Redis;
  readonly address: QueueAddress;
  /** It cannot be reached: what is asked waits until it can. */
  readonly away: boolean;
  /** Ends it; what is on its way is not waited for. */
  close(): void;
}

export interface ConnectOptions {
  /** Tells people that it cannot be reached, once, and that it is there again. */
  readonly note: (text: string) => void;
}

/**
 * A connection that has been tried: it was let in, and what is asked for is answered. From then on it is kept up: what
 * is asked while the queue is away waits.
 * @throws OPTION_INVALID without the packages; NETWORK_FAILED, QUEUE_REFUSED
 */
export async function connectQueue(address: QueueAddress, { note }: ConnectOptions): Promise<QueueConnection> {
  const { bull, ioredis } = await packages();
  const usual = {
    host: address.host,
    port: address.port,
    db: address.database,
    connectTimeout: connectMs,
    lazyConnect: true,
    // What is asked waits however long; BullMQ wants it so.
    maxRetriesPerRequest: null,
    ...(address.username !== undefined && { username: address.username }),
    ...(address.password !== undefined && { password: address.password }),
    // Node takes the name to be proved from the host, also where that is an IP address.
    ...(address.tls && { tls: {} }),
  };
  await tryOnce(new ioredis.Redis({ ...usual, retryStrategy: () => null }), address);
  const redis = new ioredis.Redis({
    ...usual,
    retryStrategy: (times: number) => Math.min(100 * 2 ** Math.min(times, 5), longestWaitMs),
  });
  let away = false;
  redis.on("error", (error: Error) => {
    if (!away) note(`the queue at ${address.shown} is away (${reasonOf(error)}); it is waited for`);
    away = true;
  });
  redis.on("ready", () => {
    if (away) note(`the queue at ${address.shown} is there again`);
    away = false;
  });
  await redis.connect().catch((error: unknown) => {
    throw connectError(address, error);
  });
  return {
    bull,
    redis,
    address,
    get away() {
      return away;
    },
    close: () => redis.disconnect(),
  };
}

async function packages(): Promise<{ bull: Bull; ioredis: typeof IoRedis }> {
  try {
    const [bull, ioredis] = await Promise.all([import("bullmq"), import("ioredis")]);
    return { bull, ioredis };
  } catch (error) {
    const { message } = error as Error;
    throw new HundredweightError(
      "OPTION_INVALID",
      `--queue needs the packages bullmq and ioredis (npm install bullmq ioredis): ${message.split("\n")[0]}`,
    );
  }
}

async function tryOnce(redis: Redis, address: QueueAddress): Promise<void> {
  // What is wrong with a connection comes as an event, and as a rejection that says less.
  let fault: Error | undefined;
  redis.on("error", (error: Error) => {
    fault ??= error;
  });
  try {
    await redis.connect();
    await redis.ping();
    // A copy that only follows another one takes no work.
    await redis.set(`${prefix}:tried`, "1", "EX", 1);
  } catch (error) {
    throw connectError(address, fault ?? error);
  } finally {
    redis.disconnect();
  }
}

function connectError(address: QueueAddress, error: unknown): HundredweightError {
  const reason = reasonOf(error);
  if (/^(WRONGPASS|NOAUTH|NOPERM|ERR invalid password|ERR AUTH|DENIED)/.test(reason))
    return new HundredweightError(
      "QUEUE_REFUSED",
      `${address.shown} lets nobody in with this user and password (${reason.split(" ", 1)[0]})`,
    );
  if (/^(READONLY|MISCONF|OOM|ERR|LOADING)/.test(reason))
    return new HundredweightError("QUEUE_REFUSED", `${address.shown} takes no work: ${reason}`);
  return new HundredweightError(
    "NETWORK_FAILED",
    `the queue at ${address.shown} cannot be reached: ${reason}${tlsAdvice(address, error)}`,
  );
}

/** Codes of OpenSSL for a certificate that nobody vouches for. */
const untrusted = new Set([
  "DEPTH_ZERO_SELF_SIGNED_CERT",
  "SELF_SIGNED_CERT_IN_CHAIN",
  "UNABLE_TO_GET_ISSUER_CERT",
  "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
  "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
  "CERT_SIGNATURE_FAILURE",
]);

function tlsAdvice({ tls }: QueueAddress, error: unknown): string {
  const { code = "" } = error as NodeJS.ErrnoException;
  if (untrusted.has(code)) return "; NODE_EXTRA_CA_CERTS=FILE names a certificate to trust";
  // Redis without TLS waits for the end of a line, and one with TLS hangs up.
  if (tls && /ETIMEDOUT|WRONG_VERSION/.test(code))
    return "; if it speaks no TLS there, the address begins with redis://";
  if (!tls && (code === "ECONNRESET" || code === "EPIPE" || /closed/i.test(reasonOf(error))))
    return "; if it speaks TLS there, the address begins with rediss://";
  return "";
}

/** An error in words that hold nothing secret: what was sent is no part of them. */
export function reasonOf(error: unknown): string {
  const { message, code, errors } = error as NodeJS.ErrnoException & { errors?: readonly Error[] };
  // Several addresses of a host have been tried.
  const text = message || errors?.map((each) => each.message).join(", ") || code || "no answer";
  return text.split("\n")[0]!.slice(0, 200);
}
