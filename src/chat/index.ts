/** The chat room: conversations -> prompt text with the user's parts marked. */
export type { ChatMessage, ContentPart, Segment } from "./messages.js";
export { ownTemplate, renderOwn } from "./own-template.js";
export {
  type RenderedChat,
  type RenderOptions,
  renderChat,
} from "./template.js";
export { chatTemplate, chatTemplates } from "./template-source.js";
