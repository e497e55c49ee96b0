/** System prompt and sampler of a conversation. An empty field is the model's own default. */
import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import type { ConversationSampling } from "../../../src/server/ui/wire.js";
import { IconButton } from "../icons.js";
import { change, type Settings } from "./open.js";

interface Field {
  readonly key: keyof ConversationSampling;
  readonly label: string;
  readonly hint: string;
  readonly min: number;
  readonly max: number;
  readonly step: number;
}

const fields: readonly Field[] = [
  { key: "temperature", label: "Temperature", hint: "0 always takes the likeliest token", min: 0, max: 2, step: 0.05 },
  { key: "topK", label: "Top-k", hint: "so many likeliest tokens, 0 = all", min: 0, max: 1000, step: 1 },
  { key: "topP", label: "Top-p", hint: "likeliest tokens of this probability together", min: 0, max: 1, step: 0.01 },
  { key: "minP", label: "Min-p", hint: "at least this share of the likeliest one", min: 0, max: 1, step: 0.01 },
  { key: "repeatPenalty", label: "Repeat penalty", hint: "1 = none", min: 0.5, max: 2, step: 0.05 },
  {
    key: "maxTokens",
    label: "Longest answer",
    hint: "tokens; empty: until the context is full",
    min: 1,
    max: 1e6,
    step: 1,
  },
  { key: "seed", label: "Seed", hint: "same seed, same words; empty: random", min: 0, max: 2 ** 47, step: 1 },
];

export interface SettingsPanelProps {
  readonly settings: Settings;
  readonly defaults: ConversationSampling;
  readonly hasTemplate: boolean;
  readonly onClose: () => void;
}

export function SettingsPanel({ settings, defaults, hasTemplate, onClose }: SettingsPanelProps): JSX.Element {
  const [system, setSystem] = useState(settings.system);
  useEffect(() => setSystem(settings.system), [settings.system]);
  const set = (key: keyof ConversationSampling, value: number | undefined) => {
    const { [key]: _, ...others } = settings.sampling;
    void change({ sampling: value === undefined ? others : { ...others, [key]: value } });
  };
  return (
    <aside class="panel" aria-label="Settings of this conversation">
      <header class="panel-head">
        <h2>This conversation</h2>
        <IconButton icon="close" label="Close settings" onClick={onClose} />
      </header>
      <label class="field wide">
        <span>System prompt</span>
        <textarea
          rows={6}
          value={system}
          placeholder="How the model should behave"
          onInput={(event) => setSystem(event.currentTarget.value)}
          onBlur={() => system !== settings.system && void change({ system })}
        />
        {!hasTemplate && (
          <small>This model has no chat template: it continues the text, and the system prompt is its beginning.</small>
        )}
      </label>
      {fields.map((field) => (
        <NumberField
          key={field.key}
          field={field}
          value={settings.sampling[field.key]}
          fallback={defaults[field.key]}
          onChange={(value) => set(field.key, value)}
        />
      ))}
      <button type="button" class="button" onClick={() => void change({ sampling: {} })}>
        Back to the model's defaults
      </button>
    </aside>
  );
}

interface NumberFieldProps {
  readonly field: Field;
  readonly value: number | undefined;
  readonly fallback: number | undefined;
  readonly onChange: (value: number | undefined) => void;
}

function NumberField({ field, value, fallback, onChange }: NumberFieldProps): JSX.Element {
  const { label, hint, min, max, step } = field;
  const id = `field-${field.key}`;
  return (
    <div class="field">
      <label for={id}>{label}</label>
      <input
        id={id}
        type="number"
        inputMode="decimal"
        min={min}
        max={max}
        step={step}
        value={value === undefined ? "" : value}
        placeholder={fallback === undefined ? "" : String(fallback)}
        aria-describedby={`${id}-hint`}
        onChange={(event) => {
          const { value: text, valueAsNumber } = event.currentTarget;
          if (text === "") onChange(undefined);
          else if (event.currentTarget.checkValidity()) onChange(valueAsNumber);
          else event.currentTarget.reportValidity();
        }}
      />
      <small id={`${id}-hint`}>{hint}</small>
    </div>
  );
}
