/**
 * A terminal that was asked to brackets what is pasted: `ESC [200~ text ESC [201~`. The line editor knows lines only,
 * so a filter before it turns the line feeds of a pasted text into a visible sign, which becomes line feeds again when
 * the line is a message: a pasted text is edited and sent as one. A paste that ends with a line feed is sent at once,
 * as a typed line is.
 */

import { Transform, type TransformCallback } from "node:stream";
import { StringDecoder } from "node:string_decoder";

export const pasteOn = "\u001b[?2004h";
export const pasteOff = "\u001b[?2004l";

const begin = "\u001b[200~";
const end = "\u001b[201~";
/** Input that begins like a mark and does not go on for so long is a key, like Escape. */
const keyMs = 50;
/** Signs for a line feed: the first that the text does not hold itself. */
const signs = ["\u23ce", "\u2424", "\u21b5", "\u2028"];

export class PasteFilter extends Transform {
  /** For the line editor, which asks. */
  readonly isTTY = true;
  private readonly terminal: NodeJS.ReadStream;
  private readonly decoder = new StringDecoder("utf8");
  private held = "";
  private timer: NodeJS.Timeout | undefined;
  private pasted: string | undefined;
  private used = new Set<string>();

  constructor(terminal: NodeJS.ReadStream) {
    super();
    this.terminal = terminal;
  }

  setRawMode(mode: boolean): this {
    this.terminal.setRawMode?.(mode);
    return this;
  }

  /** The text of a line, with the line feeds that were pasted. To be called once for each line. */
  restore(line: string): string {
    let text = line;
    for (const sign of this.used) text = text.replaceAll(sign, "\n");
    this.used = new Set();
    return text;
  }

  override _transform(chunk: Buffer | string, _encoding: BufferEncoding, done: TransformCallback): void {
    this.held += typeof chunk === "string" ? chunk : this.decoder.write(chunk);
    clearTimeout(this.timer);
    while (this.step());
    if (this.pasted === undefined && this.held !== "") this.timer = setTimeout(() => this.release(), keyMs);
    done();
  }

  /** Nothing followed: it was a key. */
  private release(): void {
    this.push(this.held);
    this.held = "";
  }

  override _flush(done: TransformCallback): void {
    clearTimeout(this.timer);
    if (this.pasted !== undefined) this.give(this.pasted + this.held);
    else if (this.held !== "") this.push(this.held);
    done();
  }

  /** @returns whether there may be more to do */
  private step(): boolean {
    const mark = this.pasted === undefined ? begin : end;
    const at = this.held.indexOf(mark);
    const upTo = at < 0 ? this.held.length - partOf(mark, this.held) : at;
    const text = this.held.slice(0, upTo);
    this.held = this.held.slice(at < 0 ? upTo : at + mark.length);
    if (this.pasted === undefined) {
      if (text !== "") this.push(text);
      if (at >= 0) this.pasted = "";
    } else {
      this.pasted += text;
      if (at >= 0) {
        this.give(this.pasted);
        this.pasted = undefined;
      }
    }
    return at >= 0;
  }

  /** Control characters would be commands to the line editor. */
  private give(text: string): void {
    const lines = text
      .replace(/\r\n?/g, "\n")
      .replace(/\t/g, "    ")
      .replace(/(?!\n)\p{Cc}/gu, "");
    const sent = lines.endsWith("\n") && lines.trim() !== "";
    const whole = sent ? lines.replace(/\n+$/, "") : lines;
    const sign = signs.find((s) => !whole.includes(s)) ?? signs[0]!;
    if (whole.includes("\n")) this.used.add(sign);
    this.push(whole.replaceAll("\n", sign) + (sent ? "\r" : ""));
  }
}

/** How many characters at the end of a text are the beginning of a mark. */
function partOf(mark: string, text: string): number {
  for (let n = Math.min(mark.length - 1, text.length); n > 0; n--) if (text.endsWith(mark.slice(0, n))) return n;
  return 0;
}
