/** The body that asks for a batch. */
import { z } from "zod";
import { batchUrls } from "../../batch/request.js";

export const batchSchema = z.object({
  input_file_id: z.string(),
  endpoint: z.enum(batchUrls),
  completion_window: z.literal("24h").describe("Nothing expires: a slow machine may take longer."),
  metadata: z
    .record(z.string().max(64), z.string().max(512))
    .refine((all) => Object.keys(all).length <= 16, "at most 16 entries")
    .optional(),
});
