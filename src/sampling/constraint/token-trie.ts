/**
 * The vocabulary as one tree of bytes in flat arrays, in the order of a walk that visits a node before what is below
 * it. Tokens that have the same bytes share a node.
 */

/** Bits of a node's first word beside its byte (the lowest eight) and its depth (the next eleven). */
export const hasTokens = 1 << 19;
/** Says that tokens have only printable ASCII characters below it that stand for themselves in a JSON string. */
export const plainBelow = 1 << 20;

export class TokenTrie {
  readonly nodes: number;
  /**
   * Node n: the first word holds its byte, its depth in bytes from the root and the bits above. The second one is the
   * first node that is not below it. They lie together, as a walk needs both.
   * @shape [nodes][2]
   */
  readonly words: Int32Array;
  /**
   * Tokens of node n are ids[first[n]] to ids[first[n + 1] - 1]; those of it and all below it end before
   * first[skip(n)].
   * @shape [nodes + 1]
   */
  readonly first: Int32Array;
  /** Token ids by their bytes, ascending. */
  readonly ids: Int32Array;
  /** Bytes of the longest token. */
  readonly longest: number;

  constructor(words: Int32Array, first: Int32Array, ids: Int32Array, longest: number) {
    this.nodes = words.length / 2;
    this.words = words;
    this.first = first;
    this.ids = ids;
    this.longest = longest;
  }

  /** Bytes held. */
  get size(): number {
    return this.words.byteLength + this.first.byteLength + this.ids.byteLength;
  }

  /** The byte that leads to a node. */
  byte(node: number): number {
    return this.words[2 * node]! & 0xff;
  }

  /** Bytes from the root to a node. */
  depth(node: number): number {
    return (this.words[2 * node]! >> 8) & 0x7ff;
  }

  /** The first node that is not below a node. */
  skip(node: number): number {
    return this.words[2 * node + 1]!;
  }
}

/** Bytes of tokens one after the other; token t of `ids` has bytes[offsets[t]] to bytes[offsets[t + 1] - 1]. */
export interface TokenBytes {
  readonly ids: Int32Array;
  readonly bytes: Uint8Array;
  readonly offsets: Int32Array;
}

/** Longer tokens are left out: no vocabulary in use has one, and a walk keeps a state for each byte. */
export const longestToken = 1024;

export function packTokens(count: number, bytesOf: (id: number) => Uint8Array): TokenBytes {
  const ids: number[] = [];
  const ends: number[] = [0];
  let bytes = new Uint8Array(8 * count + 64);
  let size = 0;
  for (let id = 0; id < count; id++) {
    const piece = bytesOf(id);
    if (piece.length === 0 || piece.length > longestToken) continue;
    if (size + piece.length > bytes.length) {
      const larger = new Uint8Array(2 * (size + piece.length));
      larger.set(bytes.subarray(0, size));
      bytes = larger;
    }
    bytes.set(piece, size);
    size += piece.length;
    ids.push(id);
    ends.push(size);
  }
  return { ids: Int32Array.from(ids), bytes: bytes.slice(0, size), offsets: Int32Array.from(ends) };
}

/** @param wanted which tokens, by their place in `tokens.ids`; default all */
export function buildTrie(tokens: TokenBytes, wanted?: (place: number) => boolean): TokenTrie {
  const { bytes, offsets } = tokens;
  let places = Int32Array.from(tokens.ids.keys());
  if (wanted !== undefined) places = places.filter(wanted);
  sortByBytes(places, tokens);

  // How many nodes each token adds: its bytes beyond what it shares with the one before.
  const shared = new Uint16Array(places.length);
  let nodes = 0;
  let longest = 0;
  for (let i = 0; i < places.length; i++) {
    const [from, to] = [offsets[places[i]!]!, offsets[places[i]! + 1]!];
    if (i > 0) shared[i] = sharedBytes(tokens, places[i - 1]!, places[i]!);
    nodes += to - from - shared[i]!;
    longest = Math.max(longest, to - from);
  }
  const words = new Int32Array(2 * nodes);
  const first = new Int32Array(nodes + 1);
  const path = new Int32Array(longest + 1);
  let open = 0; // nodes on the path to the last one
  let next = 0;
  for (let i = 0; i < places.length; i++) {
    const from = offsets[places[i]!]!;
    const length = offsets[places[i]! + 1]! - from;
    while (open > shared[i]!) words[2 * path[open--]! + 1] = next;
    while (open < length) {
      words[2 * next] = bytes[from + open]! | (++open << 8);
      first[next] = i;
      path[open] = next++;
    }
    words[2 * (next - 1)]! |= hasTokens;
  }
  while (open > 0) words[2 * path[open--]! + 1] = next;
  first[nodes] = places.length;
  markPlain(words);
  const ids = places.map((place) => tokens.ids[place]!);
  return new TokenTrie(words, first, ids, longest);
}

function markPlain(words: Int32Array): void {
  // The first byte behind a node that is not plain: the node's subtree may end before it.
  let other = words.length / 2;
  for (let n = other - 1; n >= 0; n--) {
    if (other >= words[2 * n + 1]!) words[2 * n]! |= plainBelow;
    const byte = words[2 * n]! & 0xff;
    if (byte < 0x20 || byte > 0x7e || byte === 0x22 || byte === 0x5c) other = n;
  }
}

function sharedBytes({ bytes, offsets }: TokenBytes, a: number, b: number): number {
  const [fromA, fromB] = [offsets[a]!, offsets[b]!];
  const most = Math.min(offsets[a + 1]! - fromA, offsets[b + 1]! - fromB);
  let n = 0;
  while (n < most && bytes[fromA + n] === bytes[fromB + n]) n++;
  return n;
}

/**
 * Three-way radix quicksort; of equal bytes the lower id first.
 * @source Bentley and Sedgewick, Fast algorithms for sorting and searching strings
 */
function sortByBytes(places: Int32Array, { bytes, offsets }: TokenBytes): void {
  const at = (place: number, depth: number): number => {
    const index = offsets[place]! + depth;
    return index < offsets[place + 1]! ? bytes[index]! : -1;
  };
  const work: number[] = [0, places.length, 0];
  while (work.length > 0) {
    const depth = work.pop()!;
    const to = work.pop()!;
    const from = work.pop()!;
    if (to - from < 2) continue;
    const pivot = at(places[(from + to) >> 1]!, depth);
    let low = from;
    let high = to;
    for (let i = from; i < high; ) {
      const place = places[i]!;
      const byte = at(place, depth);
      if (byte < pivot) {
        places[i++] = places[low]!;
        places[low++] = place;
      } else if (byte > pivot) {
        places[i] = places[--high]!;
        places[high] = place;
      } else i++;
    }
    work.push(from, low, depth, high, to, depth);
    if (pivot >= 0) work.push(low, high, depth + 1);
    else places.subarray(low, high).sort();
  }
}
