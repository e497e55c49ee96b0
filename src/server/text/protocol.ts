/** Messages between the server and its text worker. */
import type { ChatMessage, RenderOptions } from "../../chat/index.js";
import type { WireError } from "../../engine/protocol.js";

export interface ChatText {
  readonly messages: readonly ChatMessage[];
  readonly addGenerationPrompt?: boolean;
  readonly tools?: RenderOptions["tools"];
  readonly variables?: RenderOptions["variables"];
}

export type TextRequest =
  | { readonly kind: "render"; readonly chat: ChatText }
  | { readonly kind: "encodeChat"; readonly chat: ChatText }
  | { readonly kind: "encode"; readonly text: string; readonly addSpecial: boolean; readonly parseSpecial: boolean }
  | { readonly kind: "decode"; readonly tokens: Int32Array; readonly special: boolean }
  | { readonly kind: "pieces"; readonly tokens: Int32Array };

/** A token by itself: its text as people read it (control tokens by name), and its exact bytes (empty for control tokens). */
export interface Piece {
  readonly text: string;
  readonly bytes: Uint8Array;
}

export interface TextResults {
  readonly render: string;
  readonly encodeChat: Int32Array;
  readonly encode: Int32Array;
  readonly decode: string;
  readonly pieces: readonly Piece[];
}

export interface TextInfo {
  readonly vocab: number;
  readonly templates: readonly string[];
  readonly bos: number | undefined;
  readonly eos: number | undefined;
  /** Why no conversation can be rendered with the file's template; undefined when it can. */
  readonly templateFault: string | undefined;
}

export type ToText =
  | { readonly type: "open"; readonly path: string }
  | { readonly type: "do"; readonly request: TextRequest };

export type FromText =
  | { readonly type: "opened"; readonly info: TextInfo }
  | { readonly type: "done"; readonly result: TextResults[keyof TextResults] }
  | { readonly type: "failed"; readonly error: WireError };
