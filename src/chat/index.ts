/** The chat room: conversations -> prompt text with the user's parts marked. */
export type { Segment } from "./guard.js";
export type { ChatMessage, ContentPart } from "./messages.js";
export { ownTemplate, renderOwn } from "./own-template.js";
export {
  parseTemplate,
  type RenderedChat,
  type RenderOptions,
  renderChat,
} from "./template.js";
export { chatTemplate, chatTemplates } from "./template-source.js";
