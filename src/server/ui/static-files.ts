/** The built page: a fixed set of files in memory, each with its precompressed forms, an ETag and a strict policy. */
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { extname, join, relative, sep } from "node:path";

const types: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".svg": "image/svg+xml",
  ".webmanifest": "application/manifest+json",
};

/** Nothing from elsewhere, nothing inline; model output that slips through the sanitizer finds no way to run. */
export const pagePolicy = [
  "default-src 'self'",
  "img-src 'self' data:",
  "object-src 'none'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types hundredweight dompurify",
].join("; ");

interface StaticFile {
  readonly type: string;
  readonly etag: string;
  /** Its name holds a hash of what is in it. */
  readonly immutable: boolean;
  readonly encodings: ReadonlyMap<string, Buffer<ArrayBuffer>>;
  readonly plain: Buffer<ArrayBuffer>;
}

export class StaticFiles {
  readonly #files = new Map<string, StaticFile>();

  /** @param folder the build; an absent one gives no files */
  constructor(folder: string) {
    if (!existsSync(folder)) return;
    for (const name of readdirSync(folder, { recursive: true }).map(String)) {
      const type = types[extname(name)];
      if (type === undefined) continue;
      const path = join(folder, name);
      const plain = readFileSync(path);
      const encodings = new Map<string, Buffer<ArrayBuffer>>();
      for (const [encoding, suffix] of [
        ["br", ".br"],
        ["gzip", ".gz"],
      ] as const)
        if (existsSync(path + suffix)) encodings.set(encoding, readFileSync(path + suffix));
      const url = `/${relative(folder, path).split(sep).join("/")}`;
      const etag = createHash("sha256").update(plain).digest("base64url").slice(0, 22);
      this.#files.set(url, { type, etag, immutable: url.startsWith("/assets/"), encodings, plain });
    }
  }

  get empty(): boolean {
    return this.#files.size === 0;
  }

  get paths(): string[] {
    return [...this.#files.keys()];
  }

  /** Undefined: no such file. The path is looked up, never opened. */
  answer(path: string, headers: Headers): Response | undefined {
    const file = this.#files.get(path === "/" ? "/index.html" : path);
    if (file === undefined) return undefined;
    const accepted = (headers.get("accept-encoding") ?? "").split(",").map((part) => part.split(";")[0]!.trim());
    const encoding = ["br", "gzip"].find((name) => accepted.includes(name) && file.encodings.has(name));
    const etag = `"${file.etag}${encoding === undefined ? "" : `-${encoding}`}"`;
    const answer: Record<string, string> = {
      "content-type": file.type,
      "cache-control": file.immutable ? "public, max-age=31536000, immutable" : "no-cache",
      etag,
      vary: "accept-encoding",
      "x-content-type-options": "nosniff",
      "referrer-policy": "no-referrer",
      "cross-origin-opener-policy": "same-origin",
      "cross-origin-resource-policy": "same-origin",
      "content-security-policy": pagePolicy,
    };
    const known = (headers.get("if-none-match") ?? "").split(",").map((tag) => tag.trim().replace(/^W\//, ""));
    if (known.includes(etag)) return new Response(null, { status: 304, headers: answer });
    const body = encoding === undefined ? file.plain : file.encodings.get(encoding)!;
    if (encoding !== undefined) answer["content-encoding"] = encoding;
    return new Response(body, { status: 200, headers: { ...answer, "content-length": String(body.byteLength) } });
  }
}
