/** Asks for the server's key. */
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { apiKey } from "../api.js";
import { unlock } from "../feed.js";
import { Dialog } from "./dialog.js";

export function KeyDialog(): JSX.Element {
  const [key, setKey] = useState("");
  return (
    <Dialog label="Key of the server">
      <form
        class="dialog-form"
        onSubmit={(event) => {
          event.preventDefault();
          unlock(key.trim());
        }}
      >
        <h2>This server asks for a key</h2>
        <p class="faint">
          {apiKey.get() === undefined
            ? "Whoever started it chose one with --api-key, and can tell you. This tab forgets it when it is closed."
            : "The server does not know the key that was given."}
        </p>
        <input
          type="password"
          autocomplete="current-password"
          aria-label="Key"
          value={key}
          onInput={(event) => setKey(event.currentTarget.value)}
        />
        <button type="submit" class="button primary" disabled={key.trim() === ""}>
          Go on
        </button>
      </form>
    </Dialog>
  );
}
