/** System prompts one uses again, kept by this browser. */
import type { JSX } from "preact";
import { useState } from "preact/hooks";

const name = "hundredweight.prompts";
const mostKept = 50;

function stored(): readonly string[] {
  try {
    const value: unknown = JSON.parse(localStorage.getItem(name) ?? "[]");
    return Array.isArray(value) ? value.filter((one) => typeof one === "string") : [];
  } catch {
    return [];
  }
}

export interface SavedPromptsProps {
  readonly prompt: string;
  readonly onChoose: (prompt: string) => void;
}

export function SavedPrompts({ prompt, onChoose }: SavedPromptsProps): JSX.Element | null {
  const [kept, setKept] = useState(stored);
  const keep = (now: readonly string[]) => {
    localStorage.setItem(name, JSON.stringify(now));
    setKept(now);
  };
  const text = prompt.trim();
  const isKept = kept.includes(text);
  if (text === "" && kept.length === 0) return null;
  return (
    <div class="line">
      {kept.length > 0 && (
        <select
          aria-label="Saved prompts"
          value={isKept ? text : ""}
          onChange={(event) => event.currentTarget.value !== "" && onChoose(event.currentTarget.value)}
        >
          <option value="">Saved prompts</option>
          {kept.map((one) => (
            <option key={one} value={one}>
              {one.slice(0, 60)}
            </option>
          ))}
        </select>
      )}
      {text !== "" && (
        <button
          type="button"
          class="button small"
          onClick={() => keep(isKept ? kept.filter((one) => one !== text) : [text, ...kept].slice(0, mostKept))}
        >
          {isKept ? "Forget it" : "Save it"}
        </button>
      )}
    </div>
  );
}
