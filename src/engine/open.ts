import { HundredweightError } from "../errors.js";
import type { EngineParts } from "./parts.js";
import type { EngineOptions } from "./protocol.js";

export async function openParts(path: string, options: EngineOptions): Promise<EngineParts> {
  throw new HundredweightError("INTERNAL", `${path} ${Object.keys(options)}`);
}
