/** The meaning of the word that `pull` is given, and what of it is to be fetched. */
import { HundredweightError } from "../../errors.js";
import { type Surroundings, thisSystem } from "../local/places.js";
import { stemOf } from "../local/quant-names.js";
import { nameOf } from "../local/types.js";
import { discard, request } from "./http.js";
import { Hub } from "./hub.js";
import { isRepo, safePath } from "./names.js";
import { ollamaFile, parseOllamaName } from "./ollama-registry.js";
import { isPassing, refusal } from "./refusals.js";
import type { RemoteFile } from "./remote-file.js";
import { choose, modelsOf } from "./select.js";

/** A model that can be fetched: its names, and files that are pinned to what they are now. */
export interface RemoteModel {
  readonly repo: string;
  readonly tag: string;
  /** Its folder in the store, two parts. */
  readonly inside: string;
  readonly files: readonly RemoteFile[];
  readonly bytes: number;
  readonly folder: boolean;
  /** For people. */
  readonly source: string;
  readonly commit?: string;
  /** Other quantizations in the same repository. */
  readonly others: readonly { readonly tag: string; readonly bytes: number; readonly files: readonly RemoteFile[] }[];
}

interface HubWord {
  readonly repo: string;
  readonly revision: string;
  readonly tag: string | undefined;
}

/** `org/name`, `org/name:Q4_K_M`, `org/name@revision:tag`, `hf.co/org/name`; undefined for what is none. */
export function parseHubWord(word: string): HubWord | undefined {
  const bare = word.replace(/^(?:hf\.co|huggingface\.co)\//i, "");
  const [, repo, revision = "main", tag] = /^([^:@\s]+)(?:@([\w./-]{1,200}))?(?::([\w./-]{1,400}))?$/.exec(bare) ?? [];
  return repo !== undefined && isRepo(repo) ? { repo, revision, tag } : undefined;
}

/** An address of the hub's pages or files: `https://huggingface.co/org/name/blob/main/file.gguf`. */
function hubWordOf(url: URL, hub: Hub): HubWord | undefined {
  const own = url.host === hub.endpoint.host || /^(www\.)?(huggingface\.co|hf\.co)$/i.test(url.host);
  if (!own) return undefined;
  const [org = "", name = "", kind, revision = "main", ...path] = url.pathname
    .slice(1)
    .split("/")
    .map(decodeURIComponent);
  const repo = `${org}/${name}`;
  if (!isRepo(repo) || (kind !== undefined && !["blob", "resolve", "tree"].includes(kind))) return undefined;
  return { repo, revision, tag: path.length === 0 ? undefined : path.join("/") };
}

export interface SourceOptions {
  readonly signal: AbortSignal;
  readonly system?: Surroundings;
  /** The hash of the file at a plain address. */
  readonly sha256?: string | undefined;
}

/**
 * Asks the hub what a word means.
 * @throws OPTION_INVALID for a word that no model can be fetched by, HUB_REFUSED, NETWORK_FAILED, CANCELLED
 */
export async function findRemote(word: string, options: SourceOptions): Promise<RemoteModel> {
  const { signal, system = thisSystem() } = options;
  if (/^ollama:/i.test(word)) return ollamaModel(word.slice("ollama:".length), system, signal);
  if (/^https?:\/\//i.test(word)) {
    const url = URL.canParse(word) ? new URL(word) : undefined;
    if (url === undefined) throw new HundredweightError("OPTION_INVALID", `'${word}' is no address`);
    const hub = new Hub(system);
    const found = hubWordOf(url, hub);
    return found === undefined ? urlModel(url, options) : hubModel(found, hub, signal);
  }
  const found = parseHubWord(word);
  if (found !== undefined) return hubModel(found, new Hub(system), signal);
  throw new HundredweightError("OPTION_INVALID", `'${word.slice(0, 100)}': ${howToName(word)}`);
}

/** For a word that names no model here: how one is named that can be fetched. */
export function howToName(word: string): string {
  const simple = /^[\w][\w.-]*(:[\w.-]+)?$/.test(word);
  return (
    "models are fetched as org/name or org/name:Q4_K_M (Hugging Face), ollama:name:tag, or by an https address" +
    `${simple ? `; perhaps ollama:${word}` : ""}; \`hundredweight find WORDS\` searches`
  );
}

async function hubModel({ repo, revision, tag }: HubWord, hub: Hub, signal: AbortSignal): Promise<RemoteModel> {
  const listing = await hub.list(repo, revision, signal);
  const models = modelsOf(listing.files);
  const chosen = choose(repo, models, tag);
  const remotes = (files: typeof chosen.files): RemoteFile[] =>
    files.map((file) => hub.remote(listing, { ...file, path: safePath(file.path) }));
  // A branch is a repository of its own here: its files have the same names.
  const named = revision === "main" ? repo : `${repo}@${revision.replaceAll("/", "-")}`;
  return {
    ...{ repo: named, tag: chosen.tag, inside: named, folder: chosen.folder, bytes: chosen.bytes },
    files: remotes(chosen.files),
    source: `${hub.address}/${repo}`,
    commit: listing.commit,
    others: models
      .filter((model) => model !== chosen && !model.folder)
      .map((model) => ({ tag: model.tag, bytes: model.bytes, files: remotes(model.files) })),
  };
}

async function ollamaModel(word: string, system: Surroundings, signal: AbortSignal): Promise<RemoteModel> {
  const name = parseOllamaName(word);
  const file = await ollamaFile(name, system, signal);
  const repo = name.namespace === "library" ? name.model : `${name.namespace}/${name.model}`;
  const { tag } = name;
  return {
    ...{ repo, tag, inside: `ollama.com/${name.namespace}`, folder: false, bytes: file.bytes, files: [file] },
    source: `ollama:${nameOf({ repo, tag })}`,
    others: [],
  };
}

/** A file at any address: its size is asked for, and its hash is only known when it is given. */
async function urlModel(url: URL, { signal, sha256 }: SourceOptions): Promise<RemoteModel> {
  const file = safePath(decodeURIComponent(url.pathname.slice(url.pathname.lastIndexOf("/") + 1)));
  if (!/\.gguf$/i.test(file))
    throw new HundredweightError("OPTION_INVALID", `${url.href}: not the address of a .gguf file`);
  const credentials = { origin: "", token: undefined };
  const asked = { name: url.href, hub: url.origin, hasToken: false };
  const { response } = await request(url, credentials, { signal, headers: { range: "bytes=0-0" } });
  await discard(response);
  if (!response.ok && !isPassing(response.status)) throw refusal(response, asked);
  const total = /\/(\d{1,16})$/.exec(response.headers.get("content-range") ?? "")?.[1];
  const bytes = Number(response.status === 206 ? total : response.headers.get("content-length"));
  if (!response.ok || !Number.isSafeInteger(bytes) || bytes <= 0)
    throw response.ok
      ? new HundredweightError("NETWORK_FAILED", `${url.host}: does not say how large ${file} is`)
      : refusal(response, asked);
  const host = url.host.replace(/[^\w.-]/g, "_");
  const remote: RemoteFile = { file, url, credentials, asked, bytes, ...(sha256 !== undefined && { sha256 }) };
  const named = { repo: stemOf(file), tag: "" };
  return { ...named, inside: `urls/${host}`, folder: false, bytes, files: [remote], source: url.href, others: [] };
}
