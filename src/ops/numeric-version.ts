/**
 * The version of the bits that passes give: what was computed under another one is not gone on with. It changes with
 * test/golden/frozen-logits.json (scripts/renew-frozen-logits.mjs), and a test holds the two together.
 */
export const numericVersion = 1;
