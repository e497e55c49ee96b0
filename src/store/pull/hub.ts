/** Hugging Face's hub: what a repository holds, and where its files are. */
import { join } from "node:path";
import { HundredweightError } from "../../errors.js";
import { huggingFaceHome, type Surroundings, thisSystem } from "../local/places.js";
import { readSmall } from "../local/scan-files.js";
import { type Credentials, discard, type HttpReply, readJson, request } from "./http.js";
import { refusal } from "./refusals.js";
import type { RemoteFile } from "./remote-file.js";

const usualEndpoint = "https://huggingface.co";
/** A listing of a thousand files is some hundred kilobytes. */
const mostJson = 16 * 2 ** 20;
const mostPages = 50;

export interface HubFile {
  readonly path: string;
  readonly bytes: number;
  /** Known of large files. */
  readonly sha256?: string;
  readonly gitSha1?: string;
}

export interface HubListing {
  readonly repo: string;
  readonly commit: string;
  readonly files: readonly HubFile[];
}

export interface HubModel {
  readonly repo: string;
  readonly downloads: number;
  readonly likes: number;
  readonly gated: boolean;
}

export class Hub {
  readonly endpoint: URL;
  readonly credentials: Credentials;

  /** @throws OPTION_INVALID for an HF_ENDPOINT that is no address; HUB_REFUSED when HF_HUB_OFFLINE is set */
  constructor(system: Surroundings = thisSystem()) {
    const { env } = system;
    const given = env.HF_ENDPOINT?.trim() || usualEndpoint;
    if (!URL.canParse(given) || !/^https?:$/.test(new URL(given).protocol))
      throw new HundredweightError("OPTION_INVALID", `HF_ENDPOINT: '${given}' is no address like ${usualEndpoint}`);
    if (/^(1|on|yes|true)$/i.test(env.HF_HUB_OFFLINE ?? ""))
      throw new HundredweightError("HUB_REFUSED", "HF_HUB_OFFLINE is set: nothing is fetched");
    this.endpoint = new URL(given.replace(/\/+$/, "/"));
    this.credentials = { origin: this.endpoint.origin, token: tokenOf(system) };
  }

  /** The address for people and for paths, without a slash at its end. */
  get address(): string {
    return this.endpoint.href.replace(/\/+$/, "");
  }

  /** @throws HUB_REFUSED, NETWORK_FAILED, CANCELLED */
  async list(repo: string, revision: string, signal: AbortSignal): Promise<HubListing> {
    const at = encodeURIComponent(revision);
    const info = (await this.#json(new URL(`${this.address}/api/models/${repo}/revision/${at}`), repo, signal)).value;
    const commit = (info as { readonly sha?: unknown } | null)?.sha;
    if (typeof commit !== "string" || !/^[0-9a-f]{7,64}$/.test(commit))
      throw new HundredweightError("NETWORK_FAILED", `${this.endpoint.host}: says of ${repo} no commit`);
    const files: HubFile[] = [];
    let next: URL | undefined = new URL(`${this.address}/api/models/${repo}/tree/${commit}?recursive=true`);
    for (let page = 0; next !== undefined && page < mostPages; page++) {
      const { value, response }: { value: unknown; response: Response } = await this.#json(next, repo, signal);
      if (!Array.isArray(value))
        throw new HundredweightError("NETWORK_FAILED", `${this.endpoint.host}: lists no files of ${repo}`);
      files.push(...value.flatMap(fileOf));
      next = nextPage(response.headers.get("link"), next);
    }
    return { repo, commit, files };
  }

  /** @throws HUB_REFUSED, NETWORK_FAILED, CANCELLED */
  async search(words: string, most: number, signal: AbortSignal): Promise<HubModel[]> {
    const query = new URLSearchParams({ search: words, filter: "gguf", sort: "downloads", direction: "-1" });
    query.set("limit", String(most));
    const { value } = await this.#json(new URL(`${this.address}/api/models?${query}`), words, signal);
    if (!Array.isArray(value)) throw new HundredweightError("NETWORK_FAILED", `${this.endpoint.host}: lists no models`);
    const count = (n: unknown): number => (Number.isSafeInteger(n) ? (n as number) : 0);
    return value.flatMap((each: unknown): HubModel[] => {
      const { id, downloads, likes, gated } = (each ?? {}) as Record<string, unknown>;
      if (typeof id !== "string") return [];
      return [{ repo: id, downloads: count(downloads), likes: count(likes), gated: Boolean(gated) }];
    });
  }

  /** A file of a listing, pinned to its commit: what is fetched later is the same. */
  remote({ repo, commit }: HubListing, { path, bytes, sha256, gitSha1 }: HubFile): RemoteFile {
    const inside = path.split("/").map(encodeURIComponent).join("/");
    return {
      file: path,
      url: new URL(`${this.address}/${repo}/resolve/${commit}/${inside}`),
      credentials: this.credentials,
      asked: this.#asked(repo),
      bytes,
      ...(sha256 !== undefined ? { sha256 } : gitSha1 !== undefined && { gitSha1 }),
    };
  }

  #asked(name: string) {
    return { name, hub: this.address, hasToken: this.credentials.token !== undefined };
  }

  async #json(url: URL, name: string, signal: AbortSignal): Promise<{ value: unknown; response: Response }> {
    const { response, url: at }: HttpReply = await request(url, this.credentials, { signal });
    if (!response.ok) {
      await discard(response);
      throw refusal(response, this.#asked(name));
    }
    return { value: await readJson(response, at, mostJson), response };
  }
}

function fileOf(entry: unknown): HubFile[] {
  const { type, path, size, oid, lfs } = (entry ?? {}) as Record<string, unknown>;
  if (type !== "file" || typeof path !== "string") return [];
  const large = (lfs ?? undefined) as { readonly oid?: unknown; readonly size?: unknown } | undefined;
  const bytes = large?.size ?? size;
  if (!Number.isSafeInteger(bytes) || (bytes as number) < 0) return [];
  const sha256 = String(large?.oid ?? "").replace(/^sha256:/, "");
  const known = /^[0-9a-f]{64}$/.test(sha256);
  const git = large === undefined && typeof oid === "string" && /^[0-9a-f]{40}$/.test(oid) ? oid : undefined;
  return [{ path, bytes: bytes as number, ...(known && { sha256 }), ...(git !== undefined && { gitSha1: git }) }];
}

/** The `next` of a Link header, when it is of the same server. */
function nextPage(link: string | null, from: URL): URL | undefined {
  const [, target] = /<([^<>]{1,2000})>\s*;\s*rel="?next"?/.exec(link ?? "") ?? [];
  if (target === undefined || !URL.canParse(target, from.href)) return undefined;
  const next = new URL(target, from);
  return next.origin === from.origin ? next : undefined;
}

/** The token of a person's account, as Hugging Face's libraries look for it. */
function tokenOf(system: Surroundings): string | undefined {
  const { env } = system;
  const path = env.HF_TOKEN_PATH || join(huggingFaceHome(system), "token");
  const token = (env.HF_TOKEN ?? env.HUGGING_FACE_HUB_TOKEN ?? readSmall(path, 10_000) ?? "").trim();
  // A header could not hold anything else.
  return /^[\x21-\x7e]+$/.test(token) ? token : undefined;
}
