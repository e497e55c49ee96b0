/** A line in which what stands between backticks is a command. */
import type { JSX } from "preact";

export function WithCode({ text }: { readonly text: string }): JSX.Element {
  return <>{text.split("`").map((part, i) => (i % 2 === 0 ? part : <code key={part}>{part}</code>))}</>;
}
