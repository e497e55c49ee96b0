/** Files beside a message: what is text is sent with it, named and fenced. */
import { request } from "../api.js";
import { notify } from "../notices.js";

/** Characters the server takes as one message. */
const maxCharacters = 2 ** 20;

export interface Attached {
  readonly name: string;
  readonly content: string;
  /** Undefined until they were counted. */
  readonly tokens?: number | undefined;
}

/** @returns those that can be sent; the others are named and why */
export async function readFiles(files: readonly File[], charactersBefore: number): Promise<Attached[]> {
  const read: Attached[] = [];
  let characters = charactersBefore;
  for (const file of files) {
    const content = file.size > 4 * maxCharacters ? undefined : await textOf(file);
    if (content === undefined) notify("error", refusal(file));
    else if (characters + content.length > maxCharacters)
      notify(
        "error",
        `${file.name} makes the message longer than ${maxCharacters.toLocaleString("en-US")} characters.`,
      );
    else {
      characters += content.length;
      read.push({ name: file.name, content });
    }
  }
  return read;
}

function refusal({ name, type, size }: File): string {
  if (type.startsWith("image/") || /\.(png|jpe?g|gif|webp|bmp|heic|svgz)$/i.test(name))
    return `${name} is a picture: this model reads text only.`;
  if (type.startsWith("audio/") || type.startsWith("video/"))
    return `${name} is a recording: this model reads text only.`;
  return size > 4 * maxCharacters ? `${name} is too long for a message.` : `${name} is not a text.`;
}

/** Tokens of a text; undefined where no model is ready. */
export async function countTokens(content: string): Promise<number | undefined> {
  return request<{ tokens: number }>("POST", "/ui/tokens", { content }).then(
    ({ tokens }) => tokens,
    () => undefined,
  );
}

/** The message that is sent: the words, then the files. */
export function withFiles(text: string, files: readonly Attached[]): string {
  return [...(text === "" ? [] : [text]), ...files.map(({ name, content }) => fenced(name, content))].join("\n\n");
}

async function textOf(file: File): Promise<string | undefined> {
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(await file.arrayBuffer());
    return text.includes("\0") ? undefined : text;
  } catch {
    return undefined;
  }
}

/** The fence is longer than any in the text. */
function fenced(name: string, content: string): string {
  const longest = Math.max(2, ...[...content.matchAll(/`{3,}/g)].map(([run]) => run.length));
  const fence = "`".repeat(longest + 1);
  const language = /\.(\w{1,12})$/.exec(name)?.[1]?.toLowerCase() ?? "";
  return `${name}:\n${fence}${language}\n${content.replace(/\n?$/, "\n")}${fence}\n`;
}
