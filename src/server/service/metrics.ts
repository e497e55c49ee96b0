/** Counters, gauges and histograms in the text format of Prometheus (exposition format 0.0.4). */

type Labels = Readonly<Record<string, string>>;

interface Family {
  readonly name: string;
  readonly help: string;
  readonly type: "counter" | "gauge" | "histogram";
  lines(): string[];
}

export class Counter implements Family {
  readonly type = "counter";
  readonly name: string;
  readonly help: string;
  private readonly values = new Map<string, number>();

  constructor(name: string, help: string) {
    this.name = name;
    this.help = help;
  }

  /** Label values must come from a fixed set: every new one is kept for ever. */
  add(amount = 1, labels: Labels = {}): void {
    const key = labelText(labels);
    this.values.set(key, (this.values.get(key) ?? 0) + amount);
  }

  /** The values of all labels together. */
  get total(): number {
    return [...this.values.values()].reduce((sum, value) => sum + value, 0);
  }

  lines(): string[] {
    if (this.values.size === 0) return [`${this.name} 0`];
    return [...this.values].map(([labels, value]) => `${this.name}${labels} ${number(value)}`);
  }
}

/** Asked when scraped. */
export class Gauge implements Family {
  readonly type: "gauge" | "counter";
  readonly name: string;
  readonly help: string;
  private readonly read: () => number | undefined;

  constructor(name: string, help: string, read: () => number | undefined, type: "gauge" | "counter" = "gauge") {
    this.name = name;
    this.help = help;
    this.read = read;
    this.type = type;
  }

  lines(): string[] {
    const value = this.read();
    return value === undefined ? [] : [`${this.name} ${number(value)}`];
  }
}

export class Histogram implements Family {
  readonly type = "histogram";
  readonly name: string;
  readonly help: string;
  private readonly bounds: readonly number[];
  private readonly counts: number[];
  private sum = 0;
  private total = 0;

  constructor(name: string, help: string, bounds: readonly number[]) {
    this.name = name;
    this.help = help;
    this.bounds = bounds;
    this.counts = bounds.map(() => 0);
  }

  observe(value: number): void {
    this.sum += value;
    this.total++;
    const at = this.bounds.findIndex((bound) => value <= bound);
    if (at >= 0) this.counts[at] = this.counts[at]! + 1;
  }

  lines(): string[] {
    const out: string[] = [];
    let below = 0;
    this.bounds.forEach((bound, i) => {
      below += this.counts[i]!;
      out.push(`${this.name}_bucket{le="${bound}"} ${below}`);
    });
    out.push(`${this.name}_bucket{le="+Inf"} ${this.total}`);
    out.push(`${this.name}_sum ${number(this.sum)}`, `${this.name}_count ${this.total}`);
    return out;
  }
}

/** Seconds from milliseconds to the hours a giant takes. */
const seconds = [0.005, 0.02, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600];

export class Metrics {
  private readonly families: Family[] = [];
  readonly requests = this.add(new Counter("hundredweight_http_requests_total", "Requests by route and status."));
  readonly requestSeconds = this.add(
    new Histogram("hundredweight_answer_seconds", "From the arrival of a request to the end of its answer.", seconds),
  );
  readonly firstTokenSeconds = this.add(
    new Histogram("hundredweight_time_to_first_token_seconds", "From arrival to the first token.", seconds),
  );
  readonly tokenSeconds = this.add(
    new Histogram("hundredweight_time_per_output_token_seconds", "Mean of an answer, the first token apart.", seconds),
  );
  readonly promptTokens = this.add(new Counter("hundredweight_prompt_tokens_total", "Tokens of prompts answered."));
  readonly cachedTokens = this.add(
    new Counter("hundredweight_cached_tokens_total", "Of those, tokens that were evaluated before."),
  );
  readonly generatedTokens = this.add(new Counter("hundredweight_generated_tokens_total", "Tokens of answers."));
  readonly promptSeconds = this.add(
    new Counter("hundredweight_prompt_seconds_total", "What passes over prompts took, each answer by itself."),
  );
  readonly decodeSeconds = this.add(
    new Counter("hundredweight_generation_seconds_total", "What passes of answers took, each answer by itself."),
  );
  readonly draftTokens = this.add(
    new Counter("hundredweight_draft_tokens_total", "Guesses of the next tokens that were evaluated, by their source."),
  );
  readonly acceptedDraftTokens = this.add(
    new Counter("hundredweight_accepted_draft_tokens_total", "Of those, guesses that were right."),
  );
  readonly draftedPasses = this.add(
    new Counter("hundredweight_drafted_passes_total", "Passes of answers that guesses were tried for."),
  );
  readonly aborted = this.add(new Counter("hundredweight_aborted_total", "Answers whose client went away."));
  readonly failures = this.add(new Counter("hundredweight_failures_total", "Answers that failed, by code."));

  add<F extends Family>(family: F): F {
    this.families.push(family);
    return family;
  }

  text(): string {
    return this.families
      .map((family) => {
        const lines = family.lines();
        if (lines.length === 0) return "";
        return `# HELP ${family.name} ${family.help}\n# TYPE ${family.name} ${family.type}\n${lines.join("\n")}\n`;
      })
      .join("");
  }
}

function labelText(labels: Labels): string {
  const parts = Object.entries(labels).map(
    ([name, value]) => `${name}="${value.replace(/\\/g, "\\\\").replace(/"/g, '\\"').replace(/\n/g, "\\n")}"`,
  );
  return parts.length === 0 ? "" : `{${parts.join(",")}}`;
}

function number(value: number): string {
  return Number.isFinite(value) ? String(value) : value > 0 ? "+Inf" : value < 0 ? "-Inf" : "NaN";
}
