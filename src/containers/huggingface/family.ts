/** The form in which a family is said. */
import type { HfConfig } from "./config.js";
import type { MetadataBuilder } from "./metadata.js";
import type { NameTable } from "./names.js";

export interface Family {
  /** `general.architecture`. */
  readonly arch: string;
  /** Names that differ from those of most families. */
  readonly names?: NameTable | ((c: HfConfig) => NameTable);
  /** Keys beside the common ones. */
  readonly keys?: (c: HfConfig, m: MetadataBuilder) => void;
}
