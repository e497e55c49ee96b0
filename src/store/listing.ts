/** The models of a folder as they are listed. Types only: the page is compiled against them. */
import type { PlanSummary } from "../weights/plan-summary-types.js";

export interface FolderModel {
  readonly id: string;
  /** Relative to the folder. */
  readonly file: string;
  readonly bytes: number;
  readonly shards: number;
  readonly modifiedAt: string;
  readonly name?: string;
  readonly architecture?: string;
  readonly parameters?: number;
  readonly fileType?: string;
  readonly contextTokens?: number;
  /** Why it cannot be run. */
  readonly fault?: { readonly code: string; readonly message: string };
  readonly loaded: boolean;
}

export interface FolderListing {
  readonly folder: string;
  readonly models: readonly FolderModel[];
  /** More files than are listed. */
  readonly cut: boolean;
}

/** The plan of a model, loaded or not. */
export interface PlanReport {
  readonly budgetBytes: number;
  /** Absent: it does not fit, or nothing was planned. */
  readonly plan?: PlanSummary;
  readonly minimumBudgetBytes?: number;
  readonly advice: readonly string[];
}
