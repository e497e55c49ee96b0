/** Models that are fetched into the store of this computer, whichever API asked for them. */
import { isIP } from "node:net";
import type { HttpBindings } from "@hono/node-server";
import type { Context } from "hono";
import type { ModelFolder } from "../../store/folder.js";
import { type Pulled, type PullOptions, pull } from "../../store/pull/pull.js";
import type { ServerConfig } from "../http/config.js";
import { HttpError } from "../http/http-error.js";

/** More at once would only share the line. */
const mostPulls = 3;

export class Pulls {
  private readonly models: ModelFolder | undefined;
  private running = 0;

  constructor(models: ModelFolder | undefined) {
    this.models = models;
  }

  /** @throws HttpError 503 when as many run as may */
  checkRoom(): void {
    if (this.running >= mostPulls) throw new HttpError(503, `${mostPulls} models are being fetched already`);
  }

  /** @throws what `checkRoom` and `pull` throw */
  run(word: string, options: Pick<PullOptions, "signal" | "onProgress" | "onNote">): Promise<Pulled | undefined> {
    this.checkRoom();
    this.running++;
    return pull(word, { ...options, noPlan: true }).finally(() => {
      this.running--;
      this.models?.forget();
    });
  }
}

/** Whether this client may have models fetched, which takes the disk: with a key, or at this computer itself. */
export function mayPull(c: Context, { apiKeys }: ServerConfig): boolean {
  if (apiKeys.length > 0) return true; // it has been asked for
  const { incoming } = (c.env ?? {}) as Partial<HttpBindings>;
  const address = incoming?.socket.remoteAddress?.replace(/^::ffff:/, "");
  return address === undefined || address === "::1" || (isIP(address) === 4 && address.startsWith("127."));
}

/** @throws HttpError 403 */
export function checkPuller(c: Context, config: ServerConfig): void {
  if (!mayPull(c, config))
    throw new HttpError(403, "models are fetched for this computer itself, or with a key (--api-key)");
}
