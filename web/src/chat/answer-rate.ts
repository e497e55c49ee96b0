import type { AnswerStats } from "../../../src/server/ui/wire.js";

/**
 * Tokens a second; undefined where there is too little to tell. The first token comes out of the prompt's last pass.
 */
export function answerRate({ generatedTokens, decodeMs }: AnswerStats): number | undefined {
  return generatedTokens > 1 && decodeMs > 0 ? (1000 * (generatedTokens - 1)) / decodeMs : undefined;
}
