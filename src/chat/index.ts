/** The chat room: conversations become prompts with the user's parts marked, and replies become their parts. */

export { type AskedCalls, constraintOfAnswer } from "./answer-constraint.js";
export {
  type Conversation,
  chatMl,
  type PreparedConversation,
  prepareConversation,
  type ReplyStart,
  type TemplateTexts,
} from "./conversation.js";
export type { Dialect, ToolShape } from "./dialects/index.js";
export type { ChatMessage, ContentPart, Segment } from "./messages.js";
export { ownTemplate, renderOwn } from "./own-template.js";
export {
  type Reply,
  type ReplyCall,
  type ReplyEvent,
  type ReplyFormat,
  ReplyGatherer,
  ReplyReader,
  readReply,
} from "./reply.js";
export { ReplyText } from "./reply-text.js";
export { followedBy, type SaidReply, sentBack } from "./said-reply.js";
export {
  type RenderedChat,
  type RenderOptions,
  renderChat,
} from "./template.js";
export { type TemplateAbilities, templateAbilities } from "./template-abilities.js";
export { chatTemplate, chatTemplates } from "./template-source.js";
export { toolShapes } from "./tool-shapes.js";
