/** A hub of this machine: Hugging Face's routes over files in memory, a CDN on another port, and faults to order. */
import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export interface HubRequest {
  readonly server: "hub" | "cdn";
  readonly method: string;
  readonly url: string;
  readonly range: string | undefined;
  readonly authorization: string | undefined;
}

export interface Faults {
  /** Bytes of a body after which the connection is cut; the number of cuts that are left. */
  cutAfter?: number;
  cuts?: number;
  /** `ignored`: 200 and all of it; `shifted`: other bytes than asked, said so; `lying`: other bytes, not said. */
  ranges?: "ignored" | "shifted" | "lying" | "short" | "packed";
  /** Answers with this status so many times, with these headers. */
  status?: number;
  times?: number;
  headers?: Record<string, string>;
  /** Another ETag, and other bytes, after so many answers. */
  changeAfter?: number;
  changeTo?: Buffer;
  /** Another ETag at every answer. */
  restless?: boolean;
  /** Bytes a second. */
  rate?: number;
  /** Sends headers and nothing more. */
  silent?: boolean;
  /** Where a file is redirected to, in place of the CDN. */
  redirect?: string;
}

/** Every answer tells hashes of its file; nobody changes the bytes of one. */
const hashes = new WeakMap<Buffer, string>();
export function sha256(bytes: Buffer): string {
  const hash = hashes.get(bytes) ?? createHash("sha256").update(bytes).digest("hex");
  hashes.set(bytes, hash);
  return hash;
}

export class TestHub {
  readonly requests: HubRequest[] = [];
  readonly faults: Faults = {};
  /** `org/name` -> path -> bytes. */
  readonly repos = new Map<string, Map<string, Buffer>>();
  /** The hash that is announced, where it is not the true one. */
  readonly announced = new Map<string, string>();
  /** Ollama's registry: `library/model:tag` -> bytes. */
  readonly registry = new Map<string, Buffer>();
  gated = false;
  token: string | undefined;
  readonly commit = "c0ffee".padEnd(40, "0");
  #hub: Server;
  #cdn: Server;
  #bodies = 0;

  private constructor() {
    this.#hub = createServer((request, response) => void this.#answer(request, response));
    this.#cdn = createServer((request, response) => void this.#serve("cdn", request, response));
  }

  static async start(): Promise<TestHub> {
    const hub = new TestHub();
    for (const server of [hub.#hub, hub.#cdn])
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", () => resolve()));
    return hub;
  }

  get address(): string {
    return `http://127.0.0.1:${(this.#hub.address() as AddressInfo).port}`;
  }

  get cdnAddress(): string {
    return `http://127.0.0.1:${(this.#cdn.address() as AddressInfo).port}`;
  }

  add(repo: string, path: string, bytes: Buffer): void {
    const files = this.repos.get(repo) ?? new Map<string, Buffer>();
    files.set(path, bytes);
    this.repos.set(repo, files);
  }

  async stop(): Promise<void> {
    for (const server of [this.#hub, this.#cdn]) {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    }
  }

  #note(server: HubRequest["server"], request: IncomingMessage): void {
    const { range, authorization } = request.headers;
    this.requests.push({ server, method: request.method!, url: request.url!, range, authorization });
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    this.#note("hub", request);
    const url = new URL(request.url!, this.address);
    const json = (value: unknown, headers: Record<string, string> = {}): void => {
      response.writeHead(200, { "content-type": "application/json", ...headers }).end(JSON.stringify(value));
    };
    const refuse = (status: number, code: string): void => {
      response.writeHead(status, { "x-error-code": code }).end("no");
    };
    if (this.gated && request.headers.authorization !== `Bearer ${this.token}`) return refuse(401, "GatedRepo");
    if (url.pathname === "/api/models") {
      const words = (url.searchParams.get("search") ?? "").toLowerCase();
      const found = [...this.repos.keys()].filter((repo) => repo.toLowerCase().includes(words));
      return json(found.map((id) => ({ id, downloads: 12345, likes: 6, gated: false })));
    }
    const [, model = "", what, last = ""] = /^\/v2\/([^/]+\/[^/]+)\/(manifests|blobs)\/(.+)$/.exec(url.pathname) ?? [];
    if (what === "manifests") {
      const bytes = this.registry.get(`${model}:${last}`);
      if (bytes === undefined) return refuse(404, "");
      const layer = { digest: `sha256:${sha256(bytes)}`, size: bytes.length };
      const template = {
        mediaType: "application/vnd.ollama.image.template",
        digest: `sha256:${"0".repeat(64)}`,
        size: 3,
      };
      return json({ layers: [template, { ...layer, mediaType: "application/vnd.ollama.image.model" }] });
    }
    if (what === "blobs") {
      const bytes = [...this.registry.values()].find((each) => last === `sha256:${sha256(each)}`);
      return bytes === undefined ? refuse(404, "") : this.#body("hub", bytes, request, response);
    }
    const [, repo = "", kind, rest = ""] =
      /^\/api\/models\/([^/]+\/[^/]+)\/(revision|tree)\/(.*)$/.exec(url.pathname) ??
      /^\/([^/]+\/[^/]+)\/(resolve)\/(.*)$/.exec(url.pathname) ??
      [];
    const files = this.repos.get(repo);
    if (files === undefined) return refuse(404, "RepoNotFound");
    if (kind === "revision") return json({ id: repo, sha: this.commit });
    if (kind === "tree") {
      // Two pages, to see that the second is asked for.
      const all = [...files].map(([path, bytes]) => ({
        ...{ type: "file", path, size: bytes.length, oid: gitHash(bytes) },
        ...(bytes.length > 1000 && { lfs: { oid: this.announced.get(path) ?? sha256(bytes), size: bytes.length } }),
      }));
      const page = Number(url.searchParams.get("page") ?? 0);
      const size = Math.max(1, Math.ceil(all.length / 2));
      const next = `<${this.address}${url.pathname}?recursive=true&page=${page + 1}>; rel="next"`;
      return json(all.slice(page * size, (page + 1) * size), page === 0 && all.length > size ? { link: next } : {});
    }
    const path = decodeURIComponent(rest.slice(rest.indexOf("/") + 1));
    const bytes = files.get(path);
    if (bytes === undefined) return refuse(404, "EntryNotFound");
    if (bytes.length <= 1000) return this.#body("hub", bytes, request, response);
    const target = this.faults.redirect ?? `${this.cdnAddress}/${repo}/${rest}?signature=${this.requests.length}`;
    response
      .writeHead(302, {
        location: target,
        "x-linked-etag": `"${sha256(bytes)}"`,
        "x-linked-size": String(bytes.length),
      })
      .end();
  }

  async #serve(server: "cdn", request: IncomingMessage, response: ServerResponse): Promise<void> {
    this.#note(server, request);
    const { pathname } = new URL(request.url!, this.cdnAddress);
    const [, repo = "", path = ""] = /^\/([^/]+\/[^/]+)\/[^/]+\/(.*)$/.exec(pathname) ?? [];
    const bytes = this.repos.get(repo)?.get(decodeURIComponent(path));
    if (bytes === undefined) return void response.writeHead(404).end();
    return this.#body(server, bytes, request, response);
  }

  async #body(_: string, whole: Buffer, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { faults } = this;
    if (faults.status !== undefined && (faults.times ?? Number.POSITIVE_INFINITY) > 0) {
      if (faults.times !== undefined) faults.times--;
      return void response.writeHead(faults.status, faults.headers ?? {}).end("not now");
    }
    const changed = faults.changeAfter !== undefined && this.#bodies >= faults.changeAfter;
    this.#bodies++;
    const bytes = changed ? (faults.changeTo ?? whole) : whole;
    const etag = faults.restless ? `"${this.#bodies}"` : changed ? '"second"' : `"${sha256(whole).slice(0, 16)}"`;
    const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "") ?? [];
    if (first === undefined || faults.ranges === "ignored") {
      response.writeHead(200, { etag, "content-length": String(bytes.length) });
      return this.#send(response, bytes);
    }
    let from = Number(first);
    let to = Math.min(Number(last) + 1, bytes.length);
    const said = `bytes ${from}-${to - 1}/${bytes.length}`;
    if (faults.ranges === "shifted" || faults.ranges === "lying") [from, to] = [0, to - from];
    if (faults.ranges === "short") to = Math.min(to, from + 300_000);
    const range = faults.ranges === "lying" ? said : `bytes ${from}-${to - 1}/${bytes.length}`;
    response.writeHead(206, {
      ...{ etag, "content-range": range, "content-length": String(to - from) },
      ...(faults.ranges === "packed" && { "content-encoding": "gzip" }),
    });
    return this.#send(response, bytes.subarray(from, to));
  }

  async #send(response: ServerResponse, bytes: Buffer): Promise<void> {
    const { faults } = this;
    if (faults.silent) return void response.flushHeaders();
    const cut = faults.cutAfter !== undefined && (faults.cuts ?? Number.POSITIVE_INFINITY) > 0;
    if (cut && faults.cuts !== undefined) faults.cuts--;
    const most = cut ? Math.min(bytes.length, faults.cutAfter!) : bytes.length;
    const step = faults.rate === undefined ? 1 << 16 : Math.max(1, Math.floor(faults.rate / 100));
    for (let at = 0; at < most && !response.destroyed; at += step) {
      if (!response.write(bytes.subarray(at, Math.min(most, at + step))))
        await new Promise<void>((resolve) => {
          const go = (): void => {
            response.off("drain", go).off("close", go);
            resolve();
          };
          response.on("drain", go).on("close", go);
        });
      if (faults.rate !== undefined) await new Promise((resolve) => setTimeout(resolve, 10));
    }
    if (most < bytes.length) {
      await new Promise((resolve) => setTimeout(resolve, 5));
      response.destroy();
    } else response.end();
  }
}

const gitHash = (bytes: Buffer): string =>
  createHash("sha1").update(`blob ${bytes.length}\0`).update(bytes).digest("hex");
