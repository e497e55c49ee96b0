/** Names of tools in bodies. */
import { z } from "zod";

/** A name that templates and grammars can hold. */
export const toolName = z
  .string()
  .regex(/^[A-Za-z0-9_.:-]{1,128}$/, "a name has up to 128 letters, digits and _ . : -");
