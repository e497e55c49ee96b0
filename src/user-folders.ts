/** Where a user's files of this program lie, by the rules of each system. */
import { homedir } from "node:os";
import { isAbsolute, join } from "node:path";

export interface UserSystem {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly platform: NodeJS.Platform;
  readonly home: string;
}

/** This one, with another environment when one is given. */
export const thisUser = (env: UserSystem["env"] = process.env): UserSystem => ({
  env,
  platform: process.platform,
  home: homedir(),
});

/** A relative path is to be ignored, as the XDG Base Directory Specification has it. */
const absolute = (path: string | undefined): string | undefined =>
  path !== undefined && path !== "" && isAbsolute(path) ? path : undefined;

/** The folder of what must not be lost: conversations, and models (store/local/places.ts). */
export function dataFolder({ env, platform, home }: UserSystem = thisUser()): string {
  const base = absolute(env.XDG_DATA_HOME);
  if (base !== undefined) return join(base, "hundredweight");
  if (platform === "win32") return join(local(env, home), "hundredweight");
  if (platform === "darwin") return join(home, "Library", "Application Support", "hundredweight");
  return join(home, ".local", "share", "hundredweight");
}

/** The folder of what can be made again: measurements. */
export function cacheFolder({ env, platform, home }: UserSystem = thisUser()): string {
  const base = absolute(env.XDG_CACHE_HOME);
  if (base !== undefined) return join(base, "hundredweight");
  if (platform === "win32") return join(local(env, home), "hundredweight", "cache");
  if (platform === "darwin") return join(home, "Library", "Caches", "hundredweight");
  return join(home, ".cache", "hundredweight");
}

const local = (env: UserSystem["env"], home: string): string =>
  absolute(env.LOCALAPPDATA) ?? join(home, "AppData", "Local");
