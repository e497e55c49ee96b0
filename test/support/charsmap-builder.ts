/** Writes `precompiled_charsmap` as SentencePiece does: a double array in Darts-clone's units and the replacements. */

interface Node {
  readonly children: Map<number, Node>;
  value?: number;
}

/** Equal ends of keys share their units, as in Darts-clone (it builds them from a DAWG). */
export function buildCharsmap(replacements: ReadonlyMap<string, string>): Uint8Array {
  const texts: number[] = [];
  const root: Node = { children: new Map() };
  for (const [key, replacement] of replacements) {
    let node = root;
    for (const byte of Buffer.from(key, "utf8")) {
      const next: Node = node.children.get(byte) ?? { children: new Map() };
      node.children.set(byte, next);
      node = next;
    }
    node.value = texts.length;
    texts.push(...Buffer.from(replacement, "utf8"), 0);
  }

  let units = new Uint32Array(1 << 16);
  const taken = new Set<number>([0]);
  /** Two nodes at one place would share their children. */
  const places = new Set<number>();
  const placed = new Map<string, number>();
  let last = 0;
  const signature = (node: Node): string =>
    `${node.value ?? ""}(${[...node.children].map(([byte, child]) => `${byte}${signature(child)}`).join()})`;
  const place = (node: Node): number => {
    const name = signature(node);
    const known = placed.get(name);
    if (known !== undefined) return known;
    const bytes = [...(node.value === undefined ? [] : [0]), ...node.children.keys()];
    let at = 1;
    while (places.has(at) || bytes.some((byte) => taken.has(at ^ byte))) at++;
    places.add(at);
    for (const byte of bytes) taken.add(at ^ byte);
    placed.set(name, at);
    last = Math.max(last, ...bytes.map((byte) => at ^ byte), at);
    if (last >= units.length) throw new Error("too many units");
    if (node.value !== undefined) units[at] = (node.value | 0x80000000) >>> 0;
    for (const [byte, child] of node.children) {
      const index = at ^ byte;
      units[index] = (distance(index ^ place(child)) | (child.value === undefined ? 0 : 0x100) | byte) >>> 0;
    }
    return at;
  };
  units[0] = distance(place(root));
  units = units.slice(0, (last | 0xff) + 1);
  const out = Buffer.alloc(4 + 4 * units.length + texts.length);
  out.writeUInt32LE(4 * units.length, 0);
  units.forEach((unit, i) => {
    out.writeUInt32LE(unit, 4 + 4 * i);
  });
  out.set(texts, 4 + 4 * units.length);
  return out;
}

/** Bits 10-30, in 256ths when bit 9 is set. */
function distance(offset: number): number {
  return offset < 1 << 21 ? offset << 10 : ((offset >> 8) << 10) | 0x200;
}
