/** The text room: templates and tokenization of strangers' text, where they can do no harm. */
export { openTexts, type TextOptions, type TextService } from "./client.js";
export { EvaluatedTexts, type HeardReplies } from "./evaluated.js";
export type { TextFaultKind } from "./faults.js";
export { mostRequestBytes, mostTextBytes } from "./limits.js";
export type { TextPlaceKind } from "./places.js";
export { type TooLong, tooLongText } from "./prompt.js";
export type { EncodedChat, Piece, PlainText, TextInfo, TextRequest, TextResults } from "./protocol.js";
