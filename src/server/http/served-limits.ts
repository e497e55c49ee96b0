/**
 * Limits that the served model and the server's settings put on bodies. Whoever answers checks them; a schema marks the
 * place, and `/openapi.json` writes the number there.
 */

export interface ServedLimits {
  /** The largest token id. */
  readonly token: number;
  /** Numbers of a vector. */
  readonly dimensions: number;
  /** Tokens of the context. */
  readonly context: number;
  /** Answers of one request. */
  readonly answers: number;
  /** Characters of what stands behind a gap: none where the model cannot fill one. */
  readonly gap: number;
  /** The largest number of an adapter; -1 without one. */
  readonly adapter: number;
  /** It is a reranker, and makes no vectors. */
  readonly ranks: boolean;
}

type Keyword = "maximum" | "maxItems" | "maxLength";

/** The words that a schema's `meta` may hold beside words of JSON Schema. */
export interface Marks {
  readonly limits?: Readonly<Partial<Record<Keyword, keyof Omit<ServedLimits, "ranks">>>>;
  /** The names that may be given, when somebody asks. */
  readonly names?: () => readonly string[];
  /** Keys that are token ids. */
  readonly tokenKeys?: boolean;
  /** A list in the first field is asked one by one, each as often as the second says. */
  readonly asked?: readonly [list: string, count: string];
  /** The same with fewer steps, for documents that say much already: they list less than is taken. */
  readonly askedRoughly?: readonly [list: string, count: string];
}

export function marked(marks: Marks): Record<string, unknown> {
  return { ...marks };
}

/** Marks a field that is taken and not listed. */
export const unlisted = { unlisted: true };

/** Makes of a schema's marks what they mean for this model; without one they are left out. */
export function writeMarks(schema: Record<string, unknown>, limits: ServedLimits | undefined): void {
  const { limits: of = {}, names, tokenKeys, asked, askedRoughly: roughly } = schema as Marks;
  for (const mark of ["limits", "names", "tokenKeys", "asked", "askedRoughly"]) delete schema[mark];
  if (names !== undefined) schema.enum = names();
  if (limits === undefined) return;
  for (const [keyword, limit] of Object.entries(of)) {
    schema[keyword] = Math.min(limits[limit], (schema[keyword] as number | undefined) ?? Number.POSITIVE_INFINITY);
  }
  if (tokenKeys === true) schema.propertyNames = { pattern: `^(?:${digitsUpTo(limits.token)})$` };
  const steps = asked !== undefined ? stepsOf(limits.answers) : [limits.answers];
  const [list, count] = asked ?? roughly ?? [];
  if (list === undefined || count === undefined) return;
  schema.allOf = [...((schema.allOf as object[]) ?? []), answersOf(list, count, steps, limits.answers)];
}

/** Lengths of lists at which the number of answers to each changes. */
function stepsOf(answers: number): number[] {
  const steps: number[] = [];
  for (let items = answers; items >= 1; items = Math.floor(answers / (Math.floor(answers / items) + 1))) {
    steps.push(items);
  }
  return steps;
}

/** Lists of so many prompts with so many answers each; a list of ids is one prompt. */
function answersOf(list: string, count: string, steps: readonly number[], answers: number): object {
  const upTo = (n: number): object => ({ [count]: { maximum: n } });
  const one = { anyOf: [{ type: ["string", "object"] }, { type: "array", contains: { type: "integer" } }] };
  const several = steps.map((items) => ({
    properties: { [list]: { maxItems: items }, ...upTo(Math.floor(answers / items)) },
  }));
  return { anyOf: [{ properties: { [list]: one, ...upTo(answers) } }, ...several] };
}

/** A pattern of the decimal numbers from 0 to this one. */
export function digitsUpTo(most: number): string {
  const text = String(most);
  const ways: string[] = [];
  if (text.length > 1) ways.push(text.length === 2 ? "[0-9]" : `(?:[1-9][0-9]{0,${text.length - 2}}|0)`);
  for (let i = 0; i < text.length; i++) {
    const digit = Number(text[i]);
    const least = i === 0 && text.length > 1 ? 1 : 0;
    const rest = text.length - i - 1;
    if (digit - 1 >= least) ways.push(`${text.slice(0, i)}[${least}-${digit - 1}]${rest > 0 ? `[0-9]{${rest}}` : ""}`);
  }
  return [...ways, text].join("|");
}
