/**
 * Tool calls in a text that is kept and shown: blocks of JSON between tags, whatever marks the model uses. Pure: the
 * page uses it as well.
 */

export interface CallBlock {
  readonly id: string;
  readonly name: string;
  /** JSON text; of a call that is being written, what there is of it. */
  readonly arguments: string;
  readonly whole: boolean;
}

export type ReplyPiece = { readonly text: string } | { readonly call: CallBlock };

const [open, close] = ["<tool_call>\n", "\n</tool_call>"] as const;

/** The beginning of a block; its arguments follow as they are. */
export function callOpening(id: string, name: string): string {
  return `${open}{"id": ${JSON.stringify(id)}, "name": ${JSON.stringify(name)}, "arguments": `;
}

export const callClosing = `}${close}`;

const block = /<tool_call>\n\{"id": ("(?:[^"\\]|\\.)*"), "name": ("(?:[^"\\]|\\.)*"), "arguments": /g;

/** Text and calls in their order. */
export function splitCalls(answer: string): ReplyPiece[] {
  const parts: ReplyPiece[] = [];
  let from = 0;
  const say = (to: number): void => {
    const text = answer.slice(from, to).trim();
    if (text !== "") parts.push({ text });
  };
  for (const found of answer.matchAll(block)) {
    if (found.index < from) continue;
    const start = found.index + found[0].length;
    const end = answer.indexOf(callClosing, start);
    const whole = end >= 0;
    const json = answer.slice(start, whole ? end : answer.length);
    say(found.index);
    const [, id, name] = found;
    parts.push({ call: { id: JSON.parse(id!), name: JSON.parse(name!), arguments: json, whole } });
    from = whole ? end + callClosing.length : answer.length;
  }
  say(answer.length);
  return parts;
}
