/**
 * Lines become messages, as people know it from Ollama and llama.cpp: a line is a message; one that ends in `\` goes on
 * with the next; `"""` at the start of a line opens a text that ends with the next `"""` at the end of one.
 */

/** `/set system` and `/system` may be followed by such a text too. */
const opening = /^\s*((?:\/set\s+system|\/system)\s+)?"""/;
const fence = '"""';

export class MessageLines {
  private parts: string[] = [];
  private fenced = false;

  /** Whether more lines are needed: what is shown before the next one. */
  get open(): boolean {
    return this.fenced || this.parts.length > 0;
  }

  /** @returns the message, once it is whole; it keeps its line feeds */
  push(line: string): string | undefined {
    if (this.fenced) return this.close(line);
    if (!this.open && opening.test(line)) {
      this.fenced = true;
      const [start, command = ""] = opening.exec(line)!;
      if (command !== "") this.parts.push(command);
      return this.close(line.slice(start.length), command !== "");
    }
    // An even number of them stands for itself: a path of Windows, an escape in code.
    const goesOn = (/\\+$/.exec(line)?.[0].length ?? 0) % 2 === 1;
    this.parts.push(goesOn ? line.slice(0, -1) : line);
    return goesOn ? undefined : this.take("\n");
  }

  /** Takes out a message that was begun and not ended: there are no more lines, or it is taken back. */
  end(): string | undefined {
    return this.open ? this.take("\n") : undefined;
  }

  private close(line: string, joined = false): string | undefined {
    const closed = line.trimEnd().endsWith(fence);
    const text = closed ? line.trimEnd().slice(0, -fence.length) : line;
    if (joined) this.parts[0] += text;
    else this.parts.push(text);
    return closed ? this.take("\n") : undefined;
  }

  private take(separator: string): string {
    const text = this.parts.join(separator);
    this.parts = [];
    this.fenced = false;
    return text;
  }
}
