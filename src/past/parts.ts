/** Parts of an engine by which its pasts are told apart, moved and kept. */
import type { UnitBytes } from "../ops/unit-bytes.js";
import type { Fingerprint } from "./fingerprint.js";

export interface PastParts {
  readonly units: UnitBytes;
  /** Made when it is first asked for. */
  readonly fingerprint: () => Fingerprint;
  /** A hash of the vocabulary, made when it is first asked for. */
  readonly vocabulary: () => string;
  /** Absent: no past is kept on the disk. */
  readonly store?: { readonly folder: string; readonly budgetBytes?: number };
  /** Told once when nothing can be written. */
  readonly warn?: (text: string) => void;
}
