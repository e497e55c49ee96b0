/** The part of docs/models.md on models people ask about, from plans for machines of stated rates. */
import {
  asked,
  askedModel,
  askedPlan,
  contextTokens,
  diskRates,
  gemmOpsPerSecond,
  keptBytes,
  memories,
  memoryReadBytesPerSecond,
} from "./asked.js";
import { padded } from "./markdown.js";

const giga = (value: number) => Math.round(value / 1e9);

export const plansHeading = "## Models people ask about";

const text = `${plansHeading}

Seconds a token, as \`hundredweight plan NAME\` reckons them before anything is downloaded: none of these files was run.
Each field has two figures, for a disk of ${diskRates.map(giga).join(" and ")} GB/s; a dash: it does not run in so much memory.

- The system keeps ${keptBytes / 2 ** 30} GiB of the memory that stands above a column.
- The context is ${contextTokens} tokens of F16 keys and values.
- A desktop of eight cores with two channels of DDR5: memory is read at ${giga(memoryReadBytesPerSecond)} GB/s, and the
  processor does ${giga(gemmOpsPerSecond)} billion operations a second.

Which experts are found in memory is reckoned as if all of them were equally popular. In most models some are chosen
more often than others, and more of them are found. \`plan NAME --disk-rate 5GB --memory 48GiB\` answers for another
machine.

This part is written by \`node scripts/write-plans.mjs\`; a test compares.
`;

/** The cells of one model's row. */
export function plansRow(name: string): string[] {
  const model = askedModel(name);
  const cells = memories.map((memory) =>
    diskRates.map((rate) => seconds(askedPlan(model, memory, rate)?.prediction.secondsPerToken)).join(" / "),
  );
  const { parameters, quant, tensorBytes } = model.synth;
  return [`\`${name}\``, `${giga(parameters)}`, quant, `${giga(tensorBytes)}`, ...cells];
}

export function plansSection(): string {
  const rows = Object.keys(asked).map(plansRow);
  const head = ["name", "billions", "mix", "GB", ...memories.map((memory) => `${memory} GiB`)];
  return `${text}\n${padded(head, rows)}\n`;
}

const seconds = (value: number | undefined) => (value === undefined ? "-" : value.toPrecision(2));
