/** Files into a message: what is text is put into it, named and fenced, so that what is sent can be seen. */
import { notify } from "../notices.js";

/** Characters the server takes as one message. */
const maxCharacters = 2 ** 20;

/** @returns `text` with the files behind it; what is no text is left out and said */
export async function withFiles(text: string, files: readonly File[]): Promise<string> {
  let whole = text;
  for (const file of files) {
    const content = file.size > 4 * maxCharacters ? undefined : await textOf(file);
    const added = content === undefined ? "" : fenced(file.name, content);
    if (content === undefined) notify("error", `${file.name} is not a text, or too long.`);
    else if (whole.length + added.length > maxCharacters)
      notify(
        "error",
        `${file.name} makes the message longer than ${maxCharacters.toLocaleString("en-US")} characters.`,
      );
    else whole += whole === "" || whole.endsWith("\n\n") ? added : whole.endsWith("\n") ? `\n${added}` : `\n\n${added}`;
  }
  return whole;
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
