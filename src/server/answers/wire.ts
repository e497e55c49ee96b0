/** How the parts of a streamed response are written. */

export interface Wire {
  readonly contentType: string;
  frame(part: object): string;
  /** A line that clients pass over, or "" where the format has none. */
  comment(text: string): string;
  /** Written when nothing failed. */
  readonly end: string;
}

const events = "text/event-stream; charset=utf-8";
const comment = (text: string): string => `: ${text}\n\n`;

/** Server-sent events as OpenAI's Chat Completions has them: data only, and a mark at the end. */
export const dataEvents: Wire = {
  contentType: events,
  frame: (part) => `data: ${JSON.stringify(part)}\n\n`,
  comment,
  end: "data: [DONE]\n\n",
};

/** Server-sent events whose name is the `type` of their data; the last of them says that it is the last. */
export const namedEvents: Wire = {
  contentType: events,
  frame: (part) => `event: ${(part as { readonly type: string }).type}\ndata: ${JSON.stringify(part)}\n\n`,
  comment,
  end: "",
};

/** A JSON object a line. */
export const jsonLines: Wire = {
  contentType: "application/x-ndjson",
  frame: (part) => `${JSON.stringify(part)}\n`,
  comment: () => "",
  end: "",
};
