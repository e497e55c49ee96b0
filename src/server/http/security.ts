/** Decides who may speak to the server: keys, names in the Host header, web pages of other origins. */
import { createHash, timingSafeEqual } from "node:crypto";
import { isIP } from "node:net";
import type { HttpBindings } from "@hono/node-server";
import type { Context, MiddlewareHandler } from "hono";
import type { ServerConfig } from "./config.js";
import { HttpError } from "./http-error.js";

/**
 * A page of an attacker can make its own name point to 127.0.0.1 (DNS rebinding), and the browser then takes this
 * server for the attacker's. The Host header still tells: it must be localhost, a literal address (which cannot be
 * rebound) or a name that was allowed.
 */
export function checkHost(config: ServerConfig): MiddlewareHandler {
  const allowed = new Set(["localhost", config.host, ...config.allowHosts].map((name) => name.toLowerCase()));
  return async (c, next) => {
    const name = hostName(c.req.header("host") ?? "");
    if (name === undefined || !(allowed.has(name) || isIP(name) !== 0)) {
      throw new HttpError(403, "the Host header names a host this server does not answer for; see --allow-host", {
        code: "host_not_allowed",
      });
    }
    await next();
  };
}

/** `[::1]:80` -> `::1`, `Example.org:80` -> `example.org`. */
export function hostName(host: string): string | undefined {
  const match = /^(?:\[([0-9a-f:.]+)\]|([^\s:[\]/@]+))(?::\d{1,5})?$/i.exec(host);
  return (match?.[1] ?? match?.[2])?.toLowerCase();
}

/**
 * A page of another origin may use the server only when `--cors` names the origin. Browsers send Origin with everything
 * that can change something, so a request that has none is no page's, or changes nothing.
 */
export function checkOrigin(config: ServerConfig): MiddlewareHandler {
  const allowed = new Set(config.corsOrigins.map((origin) => origin.toLowerCase()));
  return async (c, next) => {
    const origin = c.req.header("origin");
    if (origin === undefined || sameOrigin(origin, c.req.header("host"))) {
      await next();
      return;
    }
    const named =
      allowed.has(origin.toLowerCase()) || allowed.has("*") || (allowed.has("localhost") && isOfThisMachine(origin));
    if (!named) {
      // A browser that asks first gets no leave, and no error to show.
      if (c.req.method === "OPTIONS") return c.body(null, 200, { vary: "origin" });
      throw new HttpError(403, "pages of other origins may not use this server; see --cors", {
        code: "origin_not_allowed",
      });
    }
    const asks = c.req.method === "OPTIONS";
    if (asks) c.res = new Response(null, { status: 200 });
    else await next();
    say(c, { "Access-Control-Allow-Origin": origin, ...(asks && preflight) });
    c.res.headers.append("vary", "origin");
    c.res.headers.set(
      "access-control-expose-headers",
      "x-hundredweight-warnings, x-hundredweight-prefix, x-request-id, retry-after",
    );
  };
}

const preflight = {
  "Access-Control-Allow-Methods": "GET, POST, DELETE, OPTIONS",
  // The star does not stand for this one.
  "Access-Control-Allow-Headers": "*, authorization",
  "Access-Control-Max-Age": "3600",
};

/** In the usual spelling where there is a socket: some scripts look for it, though HTTP does not care. */
function say(c: Context, headers: Readonly<Record<string, string>>): void {
  const outgoing = (c.env as Partial<HttpBindings> | undefined)?.outgoing;
  for (const [name, value] of Object.entries(headers)) {
    if (outgoing === undefined) c.res.headers.set(name, value);
    else outgoing.setHeader(name, value);
  }
}

/** `--cors localhost`: a page that a server of this machine gave, at any port. */
function isOfThisMachine(origin: string): boolean {
  return /^https?:\/\/(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?$/i.test(origin);
}

function sameOrigin(origin: string, host: string | undefined): boolean {
  try {
    // Not the scheme: a proxy in front may end TLS.
    return new URL(origin).host === host?.toLowerCase();
  } catch {
    return false;
  }
}

/**
 * `Authorization: Bearer KEY`, KEY as the password a browser asks for, or `x-api-key: KEY`; clients that send both
 * need one that fits. `/health` is open, and so is the one word of `/ready`: proxies and Kubernetes ask without a key.
 */
const open = new Set(["/health", "/v1/health", "/ready"]);

export function checkKey(config: ServerConfig): MiddlewareHandler {
  const digests = config.apiKeys.map(digest);
  return async (c, next) => {
    if (digests.length > 0 && !open.has(c.req.path)) {
      const given = givenDigests(c);
      // Every key is compared, in constant time, whichever matches.
      const fits = digests
        .flatMap((key) => given.map((one) => timingSafeEqual(key, one)))
        .reduce((found, equal) => equal || found, false);
      if (!fits) {
        const browser = c.req.header("accept")?.includes("text/html") ?? false;
        throw new HttpError(401, "a key is needed: Authorization: Bearer KEY, or x-api-key: KEY", {
          type: "authentication_error",
          code: "invalid_api_key",
          // Some browsers show it beside their two fields.
          headers: {
            "www-authenticate": browser
              ? 'Basic realm="hundredweight: any name; the password is a key given with --api-key"'
              : 'Bearer realm="hundredweight"',
          },
        });
      }
    }
    await next();
  };
}

/** Tells those who send different keys apart, without the key: 32 hexadecimal digits; "" where no key is asked for. */
export function ownerOf(c: Context, { apiKeys }: ServerConfig): string {
  const given = givenDigests(c);
  const digests = apiKeys.map(digest);
  const own = digests.filter((key) => given.map((one) => timingSafeEqual(key, one)).includes(true));
  return own[0] === undefined ? "" : scopeOf(own[0]);
}

/** The owner of the page's conversations, which are of all who have a key; "" where no key is asked for. */
export function pageScope({ apiKeys }: ServerConfig): string {
  return apiKeys.length > 0 ? "page" : "";
}

/** A key whose requests are of this owner; undefined where there is none, or none any more. */
export function keyOf(owner: string, { apiKeys }: ServerConfig): string | undefined {
  return apiKeys.find((key) => scopeOf(digest(key)) === owner);
}

function scopeOf(digested: Buffer): string {
  return digested.toString("hex").slice(0, 32);
}

function givenDigests(c: Context): Buffer[] {
  return [givenKey(c.req.header("authorization") ?? ""), c.req.header("x-api-key")?.trim() ?? ""].map(digest);
}

function givenKey(authorization: string): string {
  const [, scheme, value] = /^(bearer|basic)\s+(\S+)\s*$/i.exec(authorization) ?? [];
  if (scheme === undefined || value === undefined) return "";
  if (scheme.toLowerCase() === "bearer") return value;
  const text = Buffer.from(value, "base64").toString("utf8");
  return text.slice(text.indexOf(":") + 1);
}

/** Keys of any length become digests of one length, as `timingSafeEqual` wants. */
function digest(key: string): Buffer {
  return createHash("sha256").update(key).digest();
}
