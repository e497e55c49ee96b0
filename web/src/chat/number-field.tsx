/** A number of the settings: typed, or felt by a slider; changed ones are marked and can be given back. */
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import type { ConversationSampling } from "../../../src/server/ui/wire.js";
import { IconButton } from "../icons.js";

export interface Field {
  readonly key: keyof ConversationSampling;
  readonly label: string;
  readonly hint: string;
  readonly min: number;
  readonly max: number;
  readonly step: number;
}

export const field = (
  key: keyof ConversationSampling,
  label: string,
  hint: string,
  [min, max, step]: readonly [number, number, number],
): Field => ({ key, label, hint, min, max, step });

/** Settings whose range is one that a hand can feel, and its end. */
const felt: Readonly<Partial<Record<keyof ConversationSampling, number>>> = {
  temperature: 2,
  topP: 1,
  minP: 1,
  repeatPenalty: 2,
  typical: 1,
  xtcProbability: 1,
};

interface NumberFieldProps {
  readonly field: Field;
  readonly value: number | undefined;
  readonly fallback: number | undefined;
  readonly onChange: (value: number | undefined) => void;
}

export function NumberField({ field, value, fallback, onChange }: NumberFieldProps): JSX.Element {
  const { label, hint, min, max, step } = field;
  const id = `field-${field.key}`;
  const top = felt[field.key];
  // What is being typed is nobody else's to overwrite.
  const [draft, setDraft] = useState<string>();
  return (
    <div class="field" data-changed={value !== undefined}>
      <label for={id}>
        {label}
        {value !== undefined && (
          <IconButton icon="again" label={`${label}: back to the model's own`} onClick={() => onChange(undefined)} />
        )}
      </label>
      <input
        id={id}
        type="number"
        inputMode="decimal"
        min={min}
        max={max}
        step={step}
        value={draft ?? (value === undefined ? "" : String(value))}
        placeholder={fallback === undefined ? "" : String(fallback)}
        aria-describedby={`${id}-hint`}
        onInput={(event) => setDraft(event.currentTarget.value)}
        onBlur={(event) => event.currentTarget.checkValidity() && setDraft(undefined)}
        onChange={(event) => {
          const { value: text, valueAsNumber } = event.currentTarget;
          if (text === "") onChange(undefined);
          else if (event.currentTarget.checkValidity()) onChange(valueAsNumber);
          else event.currentTarget.reportValidity();
        }}
      />
      {top !== undefined && (
        <input
          type="range"
          aria-label={`${label}, slider`}
          min={min}
          max={top}
          step={step}
          value={draft === undefined || draft === "" ? (value ?? fallback ?? min) : draft}
          onInput={(event) => setDraft(event.currentTarget.value)}
          onChange={(event) => {
            setDraft(undefined);
            onChange(event.currentTarget.valueAsNumber);
          }}
        />
      )}
      <small id={`${id}-hint`}>{hint}</small>
    </div>
  );
}
