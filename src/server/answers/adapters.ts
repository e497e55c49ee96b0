/** The adapters of a request, in llama-server's words: `lora: [{ id, scale }]`. */
import { z } from "zod";
import type { AdapterScales } from "../../link/protocol.js";
import { wrongField } from "../http/http-error.js";
import { marked } from "../http/served-limits.js";
import type { ServedModel } from "../service/model-service.js";

export const loraList = z
  .array(
    z.looseObject({
      id: z
        .int()
        .min(0)
        .max(63)
        .meta(marked({ limits: { maximum: "adapter" } })),
      scale: z.number().min(-1e6).max(1e6),
    }),
  )
  .max(64);

export const loraField = loraList
  .optional()
  .describe("Adapters of this answer by their numbers in /lora-adapters; others do not count. Default: as set there.");

export type AskedAdapters = readonly { readonly id: number; readonly scale: number }[];

/**
 * Scales by number; undefined where the request does not say.
 * @throws HttpError 400 for an adapter that is not there
 */
export function adaptersOf(lora: AskedAdapters | undefined, { info }: ServedModel): AdapterScales | undefined {
  if (lora === undefined) return undefined;
  const { adapters = [] } = info;
  const scales = adapters.map(() => 0);
  for (const { id, scale } of lora) {
    if (id >= scales.length)
      throw wrongField("lora", `lora: there is no adapter ${id}; the server was started with ${scales.length}`);
    scales[id] = scale;
  }
  return scales;
}
