/**
 * Takes thinking and answer out of a text in which the tags <think> and </think> part them. Pure: the page uses it
 * as well.
 */
export const opening = "<think>";
export const closing = "</think>";

export interface SplitAnswer {
  readonly thinking: string | undefined;
  readonly answer: string;
  /** The thinking has ended (or there is none). */
  readonly thought: boolean;
}

export function splitThinking(content: string): SplitAnswer {
  const start = content.trimStart();
  const end = content.indexOf(closing);
  if (!start.startsWith(opening)) {
    // Some templates open the thinking in the prompt.
    if (end < 0) return { thinking: undefined, answer: content, thought: true };
    return {
      thinking: content.slice(0, end).trim(),
      answer: content.slice(end + closing.length).trimStart(),
      thought: true,
    };
  }
  const from = content.indexOf(opening) + opening.length;
  if (end < 0) return { thinking: content.slice(from).trim(), answer: "", thought: false };
  return {
    thinking: content.slice(from, end).trim(),
    answer: content.slice(end + closing.length).trimStart(),
    thought: true,
  };
}
