/** System prompt, form of the answers and sampler of a conversation. An empty field is the model's own default. */
import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import type { ConversationForm, ConversationSampling } from "../../../src/server/ui/wire.js";
import { IconButton } from "../icons.js";
import { type Field, field, NumberField } from "./number-field.js";
import { change, type Settings } from "./open.js";
import { SavedPrompts } from "./saved-prompts.js";

const share = [0, 1, 0.01] as const;
const fields: readonly Field[] = [
  field("temperature", "Temperature", "0 always takes the likeliest token", [0, 5, 0.05]),
  field("topK", "Top-k", "so many likeliest tokens, 0 = all", [0, 1e6, 1]),
  field("topP", "Top-p", "likeliest tokens of this probability together", share),
  field("minP", "Min-p", "at least this share of the likeliest one", share),
  field("repeatPenalty", "Repeat penalty", "1 = none", [0.5, 3, 0.05]),
  field("maxTokens", "Longest answer", "tokens; empty: until the context is full", [1, 1e7, 1]),
  field("seed", "Seed", "same seed, same words; empty: random", [0, 2 ** 47, 1]),
];
const rarer: readonly Field[] = [
  field("frequencyPenalty", "Frequency penalty", "per use of a token, 0 = none", [-2, 5, 0.05]),
  field("presencePenalty", "Presence penalty", "once a token was used, 0 = none", [-2, 5, 0.05]),
  field("penaltyLastTokens", "Penalty window", "tokens, -1 = the whole context", [-1, 1e7, 1]),
  field("typical", "Typical-p", "1 = off", share),
  field("topNSigma", "Top-n-sigma", "deviations below the best, 0 = off", [-1, 100, 0.1]),
  field("dryMultiplier", "DRY multiplier", "against repeated passages, 0 = off", [0, 10, 0.05]),
  field("dryBase", "DRY base", "growth with the length of the repetition", [0, 10, 0.05]),
  field("dryAllowedLength", "DRY allowed length", "tokens that may repeat", [0, 1000, 1]),
  field("xtcProbability", "XTC probability", "of leaving the likeliest out, 0 = off", share),
  field("xtcThreshold", "XTC threshold", "above 0.5 = off", share),
  field("mirostat", "Mirostat", "version 1 or 2, 0 = off", [0, 2, 1]),
  field("mirostatTau", "Mirostat tau", "surprise to aim at, bits", [0, 100, 0.1]),
  field("mirostatEta", "Mirostat eta", "learning rate", [0, 1, 0.01]),
];

interface Preset {
  readonly name: string;
  readonly sampling: ConversationSampling;
}

const presets: readonly Preset[] = [
  { name: "the model's own", sampling: {} },
  { name: "exact", sampling: { temperature: 0 } },
  { name: "careful", sampling: { temperature: 0.3, topP: 0.9 } },
  { name: "lively", sampling: { temperature: 1.1, topK: 0, topP: 1, minP: 0.05 } },
];

/** The name of the preset these settings are; "" for any others. Seed and length belong to none. */
function presetOf({ seed: _, maxTokens: __, ...sampling }: ConversationSampling): string {
  const keys = Object.keys(sampling) as (keyof typeof sampling)[];
  const same = (preset: Preset) =>
    keys.length === Object.keys(preset.sampling).length && keys.every((key) => preset.sampling[key] === sampling[key]);
  return presets.find(same)?.name ?? "";
}

export interface SettingsPanelProps {
  readonly settings: Settings;
  readonly defaults: ConversationSampling;
  readonly hasTemplate: boolean;
  /** How long reading the conversation takes; undefined while there is nothing to read. */
  readonly again: string | undefined;
  readonly onClose: () => void;
}

export function SettingsPanel(props: SettingsPanelProps): JSX.Element {
  const { settings, defaults, hasTemplate, again, onClose } = props;
  const [system, setSystem] = useState(settings.system);
  useEffect(() => setSystem(settings.system), [settings.system]);
  const set = (key: keyof ConversationSampling, value: number | undefined) => {
    const { [key]: _, ...others } = settings.sampling;
    void change({ sampling: value === undefined ? others : { ...others, [key]: value } });
  };
  const row = (each: Field) => (
    <NumberField
      key={each.key}
      field={each}
      value={settings.sampling[each.key]}
      fallback={defaults[each.key]}
      onChange={(value) => set(each.key, value)}
    />
  );
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
        {system !== settings.system && again !== undefined && (
          <small class="warn-text" role="status">
            A change makes the model read the conversation again: {again}.
          </small>
        )}
        {!hasTemplate && (
          <small>This model has no chat template: it continues the text, and the system prompt is its beginning.</small>
        )}
      </label>
      <SavedPrompts
        prompt={system}
        onChoose={(text) => {
          setSystem(text);
          void change({ system: text });
        }}
      />
      <div class="field">
        <label for="field-preset">Preset</label>
        <select
          id="field-preset"
          value={presetOf(settings.sampling)}
          onChange={(event) => {
            const preset = presets.find(({ name }) => name === event.currentTarget.value);
            if (preset === undefined) return;
            const { seed, maxTokens } = settings.sampling;
            const kept = { ...(seed !== undefined && { seed }), ...(maxTokens !== undefined && { maxTokens }) };
            void change({ sampling: { ...preset.sampling, ...kept } });
          }}
        >
          {presets.map(({ name }) => (
            <option key={name}>{name}</option>
          ))}
          <option value="">of your own</option>
        </select>
      </div>
      <FormFields form={settings.form ?? {}} onChange={(form) => void change({ form })} />
      {fields.map(row)}
      <details class="rarer" open={rarer.some(({ key }) => settings.sampling[key] !== undefined)}>
        <summary>More samplers</summary>
        {rarer.map(row)}
      </details>
      <button type="button" class="button" onClick={() => void change({ sampling: {} })}>
        Back to the model's defaults
      </button>
    </aside>
  );
}

interface FormFieldsProps {
  readonly form: ConversationForm;
  readonly onChange: (form: ConversationForm) => void;
}

function FormFields({ form, onChange }: FormFieldsProps): JSX.Element {
  const set = (key: keyof ConversationForm, value: string) => {
    const { [key]: _, ...others } = form;
    onChange(value === "" ? others : { ...others, [key]: value });
  };
  const { schema = "", tools = "", effort = "" } = form;
  return (
    <>
      <div class="field">
        <label for="field-effort">Reasoning effort</label>
        <select id="field-effort" value={effort} onChange={(event) => set("effort", event.currentTarget.value)}>
          <option value="">the model's own</option>
          {["none", "low", "medium", "high"].map((one) => (
            <option key={one}>{one}</option>
          ))}
        </select>
        <small>for templates that know it</small>
      </div>
      <details class="rarer" open={schema !== "" || tools !== ""}>
        <summary>Form and tools</summary>
        <JsonField label="JSON Schema of the answers" value={schema} onChange={(text) => set("schema", text)} />
        <JsonField label="Tools, a list as OpenAI has it" value={tools} onChange={(text) => set("tools", text)} />
      </details>
    </>
  );
}

interface JsonFieldProps {
  readonly label: string;
  readonly value: string;
  readonly onChange: (value: string) => void;
}

function JsonField({ label, value, onChange }: JsonFieldProps): JSX.Element {
  const [draft, setDraft] = useState<string>();
  const [fault, setFault] = useState("");
  const take = (text: string) => {
    try {
      if (text.trim() !== "") JSON.parse(text);
    } catch (error) {
      setFault((error as Error).message);
      return;
    }
    setFault("");
    setDraft(undefined);
    if (text.trim() !== value) onChange(text.trim());
  };
  return (
    <label class="field wide">
      <span>{label}</span>
      <textarea
        rows={4}
        class="code"
        spellcheck={false}
        value={draft ?? value}
        onInput={(event) => setDraft(event.currentTarget.value)}
        onBlur={(event) => take(event.currentTarget.value)}
      />
      {fault !== "" && <small role="alert">No JSON: {fault}</small>}
    </label>
  );
}
