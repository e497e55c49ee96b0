import type { z } from "zod";
import { HundredweightError } from "../../errors.js";

/** @throws OPTION_INVALID naming the field */
export function checked<T>(value: unknown, schema: z.ZodType<T>): T {
  const found = schema.safeParse(value);
  if (found.success) return found.data;
  const first = found.error.issues[0]!;
  throw new HundredweightError("OPTION_INVALID", `${first.path.join(".") || "body"}: ${first.message}`);
}
