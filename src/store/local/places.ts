/** Where programs keep their models: the folders of this user, by the rules of each program. */
import { homedir } from "node:os";
import { isAbsolute, join } from "node:path";
import type { Place } from "./types.js";

/** The part of a system that places depend on; tests bring their own. */
export interface Surroundings {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly platform: NodeJS.Platform;
  readonly home: string;
}

export const thisSystem = (): Surroundings => ({ env: process.env, platform: process.platform, home: homedir() });

/** A relative path is to be ignored, as the XDG Base Directory Specification has it. */
const absolute = (path: string | undefined): string | undefined =>
  path !== undefined && path !== "" && isAbsolute(path) ? path : undefined;

/** The folder that `pull` writes to: `HUNDREDWEIGHT_MODELS`, else beside other data of the user. */
export function ownFolder({ env, platform, home }: Surroundings): string {
  const given = absolute(env.HUNDREDWEIGHT_MODELS);
  if (given !== undefined) return given;
  if (platform === "win32") return join(env.LOCALAPPDATA ?? join(home, "AppData", "Local"), "hundredweight", "models");
  if (platform === "darwin" && absolute(env.XDG_DATA_HOME) === undefined)
    return join(home, "Library", "Application Support", "hundredweight", "models");
  return join(absolute(env.XDG_DATA_HOME) ?? join(home, ".local", "share"), "hundredweight", "models");
}

/** The folder of Hugging Face's libraries for settings and, below `hub`, for models. */
export function huggingFaceHome({ env, home }: Surroundings): string {
  return absolute(env.HF_HOME) ?? join(absolute(env.XDG_CACHE_HOME) ?? join(home, ".cache"), "huggingface");
}

/**
 * All folders in which models may lie, whether they exist or not; the first in which a name is found wins.
 * @source the documentation of each program; Hugging Face: huggingface_hub's environment variables
 */
export function modelPlaces(system: Surroundings = thisSystem()): Place[] {
  const { env, platform, home } = system;
  const mac = platform === "darwin";
  const windows = platform === "win32";
  const local = env.LOCALAPPDATA ?? join(home, "AppData", "Local");
  const support = join(home, "Library", "Application Support");
  const jan = windows
    ? join(env.APPDATA ?? join(home, "AppData", "Roaming"), "Jan", "data")
    : mac
      ? join(support, "Jan", "data")
      : join(home, ".config", "Jan", "data");
  const llama = windows
    ? join(local, "llama.cpp")
    : mac
      ? join(home, "Library", "Caches", "llama.cpp")
      : join(absolute(env.XDG_CACHE_HOME) ?? join(home, ".cache"), "llama.cpp");
  const hub = absolute(env.HF_HUB_CACHE) ?? absolute(env.HUGGINGFACE_HUB_CACHE) ?? join(huggingFaceHome(system), "hub");
  const places: Place[] = [
    { kind: "hundredweight", folder: ownFolder(system) },
    { kind: "hugging-face", folder: hub },
    { kind: "lm-studio", folder: join(home, ".lmstudio", "models") },
    { kind: "lm-studio", folder: join(home, ".cache", "lm-studio", "models") },
    { kind: "jan", folder: join(jan, "llamacpp", "models") },
    { kind: "ollama", folder: absolute(env.OLLAMA_MODELS) ?? join(home, ".ollama", "models") },
    // llama.cpp writes the layout of Hugging Face's cache here, and wrote plain files once.
    { kind: "hugging-face", folder: absolute(env.LLAMA_CACHE) ?? llama },
    { kind: "llama.cpp", folder: absolute(env.LLAMA_CACHE) ?? llama },
    {
      kind: "gpt4all",
      folder: windows
        ? join(local, "nomic.ai", "GPT4All")
        : mac
          ? join(support, "nomic.ai", "GPT4All")
          : join(home, ".local", "share", "nomic.ai", "GPT4All"),
    },
  ];
  // The service of Ollama's installer has a home of its own.
  if (platform === "linux") places.push({ kind: "ollama", folder: "/usr/share/ollama/.ollama/models" });
  return places;
}
