/** Whether prompts that were read are kept on the disk for the next start, and where. */
import { isAbsolute, join, resolve } from "node:path";
import type { EngineOptions } from "../../engine/options.js";
import { cacheFolder } from "../../user-folders.js";

export interface PastFlags {
  readonly prefixStore?: boolean;
}

export const noPrefixStore = ["--no-prefix-store", "keep no read prompts on the disk for the next start"] as const;

/** HUNDREDWEIGHT_PREFIX_STORE is `off` or another folder than that of the user's cache. */
export function pastOptions(
  { prefixStore }: PastFlags,
  env: Readonly<Record<string, string | undefined>> = process.env,
): Pick<EngineOptions, "pastStore"> {
  const told = env.HUNDREDWEIGHT_PREFIX_STORE ?? "";
  if (prefixStore === false || told === "off") return {};
  const folder = told === "" ? join(cacheFolder(), "pasts") : isAbsolute(told) ? told : resolve(told);
  return { pastStore: { folder } };
}
