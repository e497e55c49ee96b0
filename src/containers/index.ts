/** Opens models, whatever they are kept in. */
export { openCheckpoint } from "./checkpoint.js";
