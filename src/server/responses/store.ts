/**
 * Responses that later ones may follow (`previous_response_id`), and the items of which they name (`item_reference`).
 * In memory and bounded: the least recently used go first, and the end of the server is theirs.
 */
import type { Item } from "./request.js";

export interface StoredResponse {
  readonly response: Readonly<Record<string, unknown>> & { readonly id: string; readonly output: readonly Item[] };
  /** Items that were said to it, without what came before. */
  readonly input: readonly Item[];
  readonly previous: string | undefined;
}

/** Bytes of JSON, together and of one. */
const mostBytes = 4 * 2 ** 20;
const mostOfOne = 2 ** 20;
const mostResponses = 1024;
/** Turns that are followed back. */
const mostTurns = 1000;

export class ResponseStore {
  /** JSON, as bytes: outside of the heap that is collected. The least recently used first. */
  private readonly kept = new Map<string, { readonly json: Buffer; readonly items: readonly string[] }>();
  /** Id of an item -> id of its response. */
  private readonly owners = new Map<string, string>();
  private bytes = 0;

  /** @returns whether it is kept: one that is too large is not */
  add(stored: StoredResponse): boolean {
    const text = JSON.stringify(stored);
    const length = Buffer.byteLength(text);
    if (length > mostOfOne) return false;
    // Memory of its own: a small buffer would be part of a slab, and keep what else was in that.
    const json = Buffer.allocUnsafeSlow(length);
    json.write(text);
    const { id, output } = stored.response;
    const items = [...output, ...stored.input].flatMap(({ id: item }) => (typeof item === "string" ? [item] : []));
    this.kept.set(id, { json, items });
    for (const item of items) this.owners.set(item, id);
    this.bytes += json.length;
    for (const oldest of this.kept.keys()) {
      if (this.bytes <= mostBytes && this.kept.size <= mostResponses) break;
      this.delete(oldest);
    }
    return true;
  }

  get(id: string): StoredResponse | undefined {
    const entry = this.kept.get(id);
    if (entry === undefined) return undefined;
    this.kept.delete(id);
    this.kept.set(id, entry);
    return JSON.parse(entry.json.toString("utf8")) as StoredResponse;
  }

  delete(id: string): boolean {
    const entry = this.kept.get(id);
    if (entry === undefined) return false;
    this.kept.delete(id);
    this.bytes -= entry.json.length;
    for (const item of entry.items) if (this.owners.get(item) === id) this.owners.delete(item);
    return true;
  }

  /** Finds items by their ids; each response is read once for all of a request. */
  lookup(): (id: string) => Item | undefined {
    const read = new Map<string, Item>();
    return (id) => {
      const owner = read.has(id) ? undefined : this.owners.get(id);
      const stored = owner === undefined ? undefined : this.get(owner);
      for (const item of stored === undefined ? [] : [...stored.response.output, ...stored.input]) {
        if (typeof item.id === "string") read.set(item.id, item);
      }
      return read.get(id);
    };
  }

  /** Everything that was said up to and with this response; undefined when a turn of it is gone. */
  history(id: string): readonly Item[] | undefined {
    const turns: (readonly Item[])[] = [];
    for (let at: string | undefined = id; at !== undefined; ) {
      const stored: StoredResponse | undefined = turns.length < mostTurns ? this.get(at) : undefined;
      if (stored === undefined) return undefined;
      turns.push([...stored.input, ...stored.response.output]);
      at = stored.previous;
    }
    return turns.reverse().flat();
  }
}
