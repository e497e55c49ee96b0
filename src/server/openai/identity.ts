/** The fields every object of one answer carries. */
import { randomUUID } from "node:crypto";
import { packageVersion } from "../../package-root.js";
import type { ServedModel } from "../service/model-service.js";

export interface Identity {
  readonly id: string;
  readonly created: number;
  readonly model: string;
  readonly system_fingerprint: string;
}

export function identityOf(prefix: string, served: ServedModel): Identity {
  return {
    id: `${prefix}-${randomUUID().replaceAll("-", "")}`,
    created: Math.floor(Date.now() / 1000),
    model: served.id,
    // Clients of llama-server look for the `b` of its builds.
    system_fingerprint: `b-hundredweight-${packageVersion()}-${served.info.ops}`,
  };
}
