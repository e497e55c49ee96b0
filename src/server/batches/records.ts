/**
 * Records in a folder, a JSON file each, written whole or not at all. Names are ids that were made here: whatever a
 * request says is compared with their pattern before it is a part of a path.
 */
import { randomBytes } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { replaceFileSync } from "../../replace-file.js";

/** A record is a few hundred bytes and what its owner says beside. */
const maxBytes = 64 * 1024;

export class Records<T extends { readonly id: string }> {
  readonly folder: string;
  private readonly prefix: string;
  private readonly pattern: RegExp;

  /** @param prefix of all ids */
  constructor(folder: string, prefix: string) {
    this.folder = folder;
    this.prefix = prefix;
    this.pattern = new RegExp(`^${prefix}[0-9a-f]{32}$`);
  }

  newId(): string {
    return `${this.prefix}${randomBytes(16).toString("hex")}`;
  }

  /** The path of something that belongs to a record. @param id one that was made here */
  pathOf(id: string, suffix: string): string {
    if (!this.pattern.test(id)) throw new Error("no id");
    return join(this.folder, `${id}${suffix}`);
  }

  /** Undefined: there is none, or it makes no sense. */
  get(id: string): T | undefined {
    if (!this.pattern.test(id)) return undefined;
    try {
      const path = this.pathOf(id, ".json");
      if (!statSync(path).isFile() || statSync(path).size > maxBytes) return undefined;
      const record = JSON.parse(readFileSync(path, "utf8")) as T;
      return record.id === id ? record : undefined;
    } catch {
      return undefined;
    }
  }

  put(record: T): void {
    mkdirSync(this.folder, { recursive: true, mode: 0o700 });
    const path = this.pathOf(record.id, ".json");
    const fresh = `${path}.${randomBytes(4).toString("hex")}.new`;
    writeFileSync(fresh, JSON.stringify(record), { mode: 0o600 });
    replaceFileSync(fresh, path);
  }

  remove(id: string): void {
    rmSync(this.pathOf(id, ".json"), { force: true });
  }

  list(): T[] {
    let names: string[];
    try {
      names = readdirSync(this.folder);
    } catch {
      return [];
    }
    return names.flatMap((name) => (name.endsWith(".json") ? (this.get(name.slice(0, -".json".length)) ?? []) : []));
  }
}
