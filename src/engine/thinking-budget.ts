/** Ends a model's thinking after so many tokens: the tokens that close it are then taken instead of sampled ones. */

export interface ThinkingLimit {
  /** Most tokens between the marks. */
  readonly budget: number;
  /** Marks that open thinking, at the beginning of an answer, and those that close it. */
  readonly open: readonly string[];
  readonly close: readonly string[];
  /** The prompt ends inside of thinking. */
  readonly opened: boolean;
  /** Tokens that end it. */
  readonly end: readonly number[];
}

/** A character may take this many tokens; thinking is not ended inside of one. */
const mostTokensOfCharacter = 8;

export class ThinkingBudget {
  private readonly limit: ThinkingLimit;
  private readonly waiting: number[] = [];
  private readonly longest: number;
  private state: "before" | "inside" | "over";
  private text = "";
  private tokens = 0;

  constructor(limit: ThinkingLimit) {
    this.limit = limit;
    this.longest = Math.max(...limit.close.map((mark) => mark.length), 1);
    this.state = limit.opened ? "inside" : "before";
    if (limit.opened && limit.budget <= 0) this.end();
  }

  /** The token that must come now; undefined: any. */
  get forced(): number | undefined {
    return this.waiting[0];
  }

  /** @param text what the token adds to the answer; "" inside of a character */
  accept(text: string): void {
    if (this.waiting.length > 0) {
      this.waiting.shift();
      return;
    }
    if (this.state === "before") this.begin(text);
    else if (this.state === "inside") this.think(text);
  }

  private begin(text: string): void {
    this.text += text;
    const begun = this.text.trimStart();
    if (this.limit.open.some((mark) => begun.startsWith(mark))) {
      this.state = "inside";
      this.text = "";
      if (this.limit.budget <= 0) this.end();
    } else if (!this.limit.open.some((mark) => mark.startsWith(begun))) this.state = "over";
  }

  private think(text: string): void {
    this.tokens++;
    this.text = (this.text + text).slice(-2 * this.longest - text.length);
    if (this.limit.close.some((mark) => this.text.includes(mark))) this.state = "over";
    else if (
      this.tokens >= this.limit.budget &&
      (text !== "" || this.tokens >= this.limit.budget + mostTokensOfCharacter)
    )
      this.end();
  }

  private end(): void {
    this.state = "over";
    this.waiting.push(...this.limit.end);
  }
}
