/** The part of Go's templates that prompts are written with: fields, and what depends on whether one is there. */
import { wrongField } from "../http/http-error.js";

export interface TemplateFields {
  readonly System: string;
  readonly Prompt: string;
  readonly Suffix: string;
  readonly Response: string;
}

/** @throws HttpError 400 for what is not known of the language */
export function renderGoTemplate(template: string, fields: TemplateFields): string {
  const refuse = (what: string): never => {
    throw wrongField("template", `template: ${what}; known are {{ .System }}, {{ .Prompt }}, {{ if .X }}, {{ end }}`);
  };
  let out = "";
  /** For each `if` around: whether its text counts. */
  const open: boolean[] = [];
  let at = 0;
  // A dash takes the white space beside a tag away.
  for (const match of template.matchAll(/\s*\{\{-[^}]*\}\}\s*|\{\{[^}]*\}\}\s*/g)) {
    const [tag] = match;
    const braces = /\{\{-?\s*(.*?)\s*(-?)\}\}/s.exec(tag)!;
    const words = braces[1]!;
    const before = template.slice(at, match.index);
    const after = braces[2] === "-" ? "" : (/\s*$/.exec(tag)?.[0] ?? "");
    const shown = (): boolean => open.every(Boolean);
    if (shown()) out += before;
    const [, field] = /^\.(\w+)$/.exec(words) ?? [];
    const [, condition] = /^if\s+\.(\w+)$/.exec(words) ?? [];
    const fieldOf = (name: string): string =>
      Object.hasOwn(fields, name) ? fields[name as keyof TemplateFields] : refuse(`there is no field .${name}`);
    if (field !== undefined) out += shown() ? fieldOf(field) : "";
    else if (condition !== undefined) open.push(fieldOf(condition) !== "");
    else if (words === "else" && open.length > 0) open.push(!open.pop()!);
    else if (words === "end" && open.length > 0) open.pop();
    else refuse(`'${words.slice(0, 50)}' is not supported`);
    if (shown()) out += after;
    at = match.index + tag.length;
  }
  if (open.length > 0) refuse("an if has no end");
  return out + template.slice(at);
}
