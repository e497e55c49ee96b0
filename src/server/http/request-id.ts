/** The name of a request, in headers and in failures: a client that reports one names it. */
import { randomUUID } from "node:crypto";
import type { Context } from "hono";

const ids = new WeakMap<Context, string>();

export function requestIdOf(c: Context): string {
  let id = ids.get(c);
  if (id === undefined) {
    id = `req_${randomUUID().replaceAll("-", "")}`;
    ids.set(c, id);
  }
  return id;
}
