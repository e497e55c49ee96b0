/** How the rows of a text become one vector, as sentence-transformers says it beside the model. */
import { join } from "node:path";
import { readJsonFile } from "../../formats/small-file.js";
import type { MetadataBuilder } from "./metadata.js";

const mostBytes = 1 << 20;
/** GGUF's numbers. */
const modes = { pooling_mode_mean_tokens: 1, pooling_mode_cls_token: 2, pooling_mode_lasttoken: 3 } as const;

/** @throws FORMAT_INVALID, FILE_* */
export function poolingKeys(folder: string, m: MetadataBuilder): void {
  const settings = readJsonFile(join(folder, "1_Pooling", "config.json"), mostBytes);
  for (const [key, number] of Object.entries(modes)) if (settings?.[key] === true) m.uint("pooling_type", number);
}
