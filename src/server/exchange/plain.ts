/** A prompt that is no conversation: what comes is text for the reader, all of it. */
import type { EncodedChat } from "../../text/index.js";

export function plainPrompt(tokens: Int32Array): EncodedChat {
  const dialect = { name: "plain", models: "", signs: [], thinking: [], forms: [] };
  return {
    tokens,
    reply: { dialect, thinks: false, begun: "" },
    shown: [],
    thinking: { open: [], close: [], end: [] },
    notes: [],
  };
}
