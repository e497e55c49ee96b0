/** Sizes that nobody asked for: the same where a plan is made and where none is. */

/** Positions of a sequence, at most those the model was trained for. */
export const defaultContextTokens = 4096;

/** Token rows of a pass at most. */
export const defaultChunkRows = 512;

/** Rows whose logits are made at once. */
export const defaultLogitRows = 16;
