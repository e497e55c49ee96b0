/** Why a hub does not give something, in plain words with what to do. */
import { HundredweightError } from "../../errors.js";
import { retryAfter } from "./http.js";

export interface Asked {
  /** The repository or address, for people. */
  readonly name: string;
  /** The hub's address, where a person accepts conditions and makes tokens. */
  readonly hub: string;
  readonly hasToken: boolean;
}

/** Statuses after which the same request may succeed later. */
export const isPassing = (status: number): boolean => status === 408 || status === 429 || status >= 500;

/** @returns HUB_REFUSED, or NETWORK_FAILED for a fault of the server's own */
export function refusal(response: Response, { name, hub, hasToken }: Asked): HundredweightError {
  const { status } = response;
  const code = response.headers.get("x-error-code") ?? "";
  const refused = (what: string) => new HundredweightError("HUB_REFUSED", `${name}: ${what}`, { status });
  const tokens = `set HF_TOKEN to a token of your account (${hub}/settings/tokens)`;
  if (code === "GatedRepo")
    return refused(
      hasToken
        ? `it is gated, and your account has not been let in: accept its conditions at ${hub}/${name}, and wait ` +
            "until its owner has agreed"
        : `it is gated: accept its conditions at ${hub}/${name} with your account, then ${tokens}`,
    );
  switch (status) {
    case 401:
      return refused(
        hasToken
          ? "the hub does not take the token (HF_TOKEN): it is wrong, or has expired; or there is no such repository"
          : `the hub does not show it (401): there is no such repository, or it is private; for that ${tokens}`,
      );
    case 403:
      return refused(
        hasToken ? "the token (HF_TOKEN) may not read this (403)" : `not without a token (403): ${tokens}`,
      );
    case 404:
      if (code === "RevisionNotFound") return refused("there is no such revision");
      if (code === "EntryNotFound") return refused("there is no such file in the repository");
      return refused("there is no such model; `hundredweight find WORDS` searches");
    case 429: {
      const seconds = retryAfter(response);
      const wait = seconds === undefined ? "in a while" : `in ${Math.ceil(seconds)} s`;
      return refused(
        `too many requests (429): try again ${wait}, what has been fetched is kept` +
          `${hasToken ? "" : "; with a token more is allowed (HF_TOKEN)"}`,
      );
    }
    case 451:
      return refused("the hub may not give it, for legal reasons (451)");
  }
  if (status >= 500)
    return new HundredweightError("NETWORK_FAILED", `${name}: the server has a fault (${status})`, { status });
  return refused(`the server answered ${status}`);
}
