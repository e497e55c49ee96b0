/** Files that clients leave and batches write: their bytes beside a record, bounded in number and size. */
import { closeSync, existsSync, mkdirSync, openSync, rmSync, statSync, writeSync } from "node:fs";
import { replaceFileSync } from "../../replace-file.js";
import { HttpError } from "../http/http-error.js";
import { Records } from "./records.js";

export interface StoredFile {
  readonly id: string;
  /** Digest of the key it came with; only that key sees it. */
  readonly owner: string;
  readonly bytes: number;
  /** Seconds since 1970. */
  readonly createdAt: number;
  readonly filename: string;
  readonly purpose: string;
}

export interface FileLimits {
  readonly maxFiles: number;
  /** Bytes of all files together. */
  readonly maxBytes: number;
}

const content = ".data";

export class FileStore {
  private readonly records: Records<StoredFile>;
  private readonly limits: FileLimits;
  /** Bytes of files that arrive. */
  private arriving = 0;

  constructor(folder: string, limits: FileLimits) {
    this.records = new Records(folder, "file-");
    this.limits = limits;
  }

  get(id: string, owner: string): StoredFile | undefined {
    const file = this.records.get(id);
    return file?.owner === owner ? file : undefined;
  }

  /** Newest first. */
  list(owner: string): StoredFile[] {
    const own = this.records.list().filter((file) => file.owner === owner);
    return own.sort((a, b) => b.createdAt - a.createdAt || (a.id < b.id ? -1 : 1));
  }

  pathOf({ id }: Pick<StoredFile, "id">): string {
    return this.records.pathOf(id, content);
  }

  remove({ id }: StoredFile): void {
    this.records.remove(id);
    rmSync(this.pathOf({ id }), { force: true });
  }

  /** Begins a file. @throws HttpError 413 when there are as many as may be, or as many bytes */
  begin(): FileInTheMaking {
    const all = this.records.list();
    if (all.length >= this.limits.maxFiles)
      throw new HttpError(413, `there are ${all.length} files already; delete some`, { code: "too_many_files" });
    const stored = all.reduce((sum, { bytes }) => sum + bytes, 0);
    const id = this.records.newId();
    mkdirSync(this.records.folder, { recursive: true, mode: 0o700 });
    const fresh = this.records.pathOf(id, `${content}.new`);
    const fd = openSync(fresh, "wx", 0o600);
    let bytes = 0;
    let open = true;
    const close = (): void => {
      if (open) closeSync(fd);
      open = false;
      this.arriving -= bytes;
    };
    return {
      write: (part) => {
        if (stored + this.arriving + part.length > this.limits.maxBytes)
          throw new HttpError(413, `all files together may have ${this.limits.maxBytes} bytes; delete some`, {
            code: "storage_full",
          });
        this.arriving += part.length;
        bytes += part.length;
        for (let at = 0; at < part.length; ) at += writeSync(fd, part, at);
      },
      keep: (about) => {
        const length = bytes;
        close();
        replaceFileSync(fresh, this.pathOf({ id }));
        return this.record(id, length, about);
      },
      drop: () => {
        if (!open) return;
        close();
        rmSync(fresh, { force: true });
      },
    };
  }

  /** Takes a file over that was written elsewhere in this folder's file system. */
  adopt(id: string, path: string, about: FileAbout): StoredFile {
    const to = this.pathOf({ id });
    if (existsSync(path)) replaceFileSync(path, to);
    return this.record(id, statSync(to).size, about);
  }

  newId(): string {
    return this.records.newId();
  }

  private record(id: string, bytes: number, about: FileAbout): StoredFile {
    const file = { id, bytes, createdAt: Math.floor(Date.now() / 1000), ...about };
    this.records.put(file);
    return file;
  }
}

export type FileAbout = Pick<StoredFile, "owner" | "filename" | "purpose">;

export interface FileInTheMaking {
  /** @throws HttpError 413 */
  write(part: Buffer): void;
  keep(about: FileAbout): StoredFile;
  /** Safe to call after `keep`. */
  drop(): void;
}
