/** Folds the events of an answer's job into where it stands: the same for library, server and page. */
import type { JobEvent } from "../engine/jobs.js";

export class JobFold {
  /** Jobs before this one; 0: it runs. */
  ahead = 0;
  /** Rows of the prompt that were read, of all; 0 of 0 before the first. */
  read = 0;
  total = 0;
  /** Rows of the prompt that were there from before; undefined until the first pass. */
  cached: number | undefined;
  /** Tokens made. */
  generated = 0;
  /** Milliseconds from the submission to the first token. */
  firstTokenMs: number | undefined;
  private readonly began = performance.now();

  /** @returns the text that the event adds to the answer */
  add(event: JobEvent): string {
    switch (event.kind) {
      case "queued":
        this.ahead = event.ahead;
        return "";
      case "prompt":
        this.ahead = 0;
        return "";
      case "prefix":
        this.cached ??= event.reused;
        this.total = event.tokens;
        return "";
      case "pass":
        // After the first token a pass tells no more of the prompt.
        if (event.total > 0) {
          this.cached ??= event.entry.position;
          this.read = event.done;
          this.total = event.total;
        }
        return "";
      case "token":
        this.ahead = 0;
        // It comes before the end of the pass that read the rest of the prompt.
        this.read = this.total;
        this.generated++;
        this.firstTokenMs ??= performance.now() - this.began;
        return event.text;
      case "text":
        return event.text;
      default:
        return "";
    }
  }
}
