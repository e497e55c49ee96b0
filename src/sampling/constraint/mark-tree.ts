/**
 * Looks for texts in a stream of bytes, several at once. White space counts for nothing, as for whoever reads the
 * calls; but where a mark has some behind a letter or a digit, there has to be some: names end there.
 */

interface TreeNode {
  readonly id: number;
  readonly next: Map<number, TreeNode>;
  /** The mark that is whole here. */
  mark: number | undefined;
}

/** Places in the tree where the text so far may go on: beginnings of marks. */
export type Begun = readonly TreeNode[];

export const nothingBegun: Begun = [];

const space = 0x20;

export class MarkTree {
  private readonly root: TreeNode;
  private nodes = 0;

  /** @param marks in the order of their numbers */
  constructor(marks: readonly string[]) {
    this.root = this.node();
    marks.forEach((mark, number) => {
      let at = this.root;
      for (const byte of Buffer.from(withoutSpace(mark))) {
        const next = at.next.get(byte) ?? this.node();
        at.next.set(byte, next);
        at = next;
      }
      at.mark ??= number;
    });
  }

  /**
   * @param starts whether a mark may begin with this byte
   * @returns what is begun behind it, or the mark that it ends
   */
  step(begun: Begun, byte: number, starts: boolean): { readonly begun: Begun; readonly mark: number | undefined } {
    const blank = byte === space || (byte >= 0x09 && byte <= 0x0d);
    const out: TreeNode[] = [];
    let mark: number | undefined;
    const visit = (node: TreeNode | undefined): void => {
      if (node === undefined || out.includes(node)) return;
      mark ??= node.mark;
      out.push(node);
    };
    for (const node of begun) {
      visit(node.next.get(blank ? space : byte));
      if (blank) visit(node.mark === undefined ? node : undefined);
    }
    if (starts) visit(this.root.next.get(byte));
    return { begun: mark === undefined ? out : nothingBegun, mark };
  }

  private node(): TreeNode {
    return { id: this.nodes++, next: new Map(), mark: undefined };
  }
}

/** Names what is begun, the same for the same places. */
export function begunKey(begun: Begun): string {
  return begun.map(({ id }) => id).join();
}

/** The part of a mark that has been read where it is found: white space at its end is read behind a name only. */
export function readPart(mark: string): string {
  return /\w\s+$/.test(mark) ? mark : mark.trimEnd();
}

function withoutSpace(mark: string): string {
  return mark.trimStart().replace(/(\w?)\s+/g, (_, letter: string) => (letter === "" ? "" : `${letter} `));
}
