/** A field in place of words that are being changed. Enter and going away keep what is there, Escape keeps the old. */
import type { JSX } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";

export interface InlineFieldProps {
  readonly label: string;
  readonly value: string;
  readonly class?: string;
  readonly placeholder?: string;
  /** Called once; undefined where it is left as it was. */
  readonly onDone: (value: string | undefined) => void;
}

export function InlineField({ label, value, onDone, ...shown }: InlineFieldProps): JSX.Element {
  const input = useRef<HTMLInputElement>(null);
  const ended = useRef(false);
  // Before the next key comes.
  useLayoutEffect(() => {
    input.current?.focus();
    input.current?.select();
  }, []);
  const end = (wanted: string) => {
    // Going away takes the focus from it once more.
    if (ended.current) return;
    ended.current = true;
    onDone(wanted === value ? undefined : wanted);
  };
  return (
    <input
      {...shown}
      ref={input}
      aria-label={label}
      maxLength={200}
      defaultValue={value}
      onBlur={(event) => end(event.currentTarget.value)}
      onKeyDown={(event) => {
        event.stopPropagation();
        if (event.key === "Enter") end(event.currentTarget.value);
        else if (event.key === "Escape") end(value);
      }}
    />
  );
}
