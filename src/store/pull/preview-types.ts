/** A model before it is fetched, and what it would do here. Types only: the page is compiled against them. */

/** The plan of a model that has not been fetched. */
export interface Preview {
  readonly tag: string;
  readonly bytes: number;
  /** Why nothing can be said, or why the model cannot be run at all. */
  readonly fault?: { readonly code: string; readonly message: string };
  /** Absent: it does not fit. */
  readonly strategy?: "resident" | "streamed" | "experts";
  readonly secondsPerToken?: number;
  readonly contextTokens?: number;
  readonly budgetBytes: number;
  /** The least budget with which it runs. */
  readonly minimumBudgetBytes?: number;
  /** The least budget with which all of it is in memory. */
  readonly wholeFromBytes?: number;
  /** Rates of this machine have not been measured. */
  readonly guessed: boolean;
}

/** A model that a word names, and its plans for this machine. */
export interface PullPlan {
  readonly name: string;
  readonly bytes: number;
  readonly files: number;
  /** The model's own, then those of smaller quantizations beside one that is streamed. */
  readonly plans: readonly Preview[];
}
