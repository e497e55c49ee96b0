/** A modal dialog of the browser's own: it keeps the focus inside and closes with Escape. */
import type { ComponentChildren, JSX } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";

export interface DialogProps {
  readonly label: string;
  readonly children: ComponentChildren;
  /** Absent: it cannot be closed. */
  readonly onClose?: () => void;
}

export function Dialog({ label, children, onClose }: DialogProps): JSX.Element {
  const close = useRef(onClose);
  close.current = onClose;
  const dialog = useRef<HTMLDialogElement>(null);
  useLayoutEffect(() => {
    const element = dialog.current!;
    element.showModal();
    // A click beside it; for the keyboard there is Escape.
    element.addEventListener("click", (event) => {
      if (event.target === element) close.current?.();
    });
  }, []);
  return (
    <dialog
      ref={dialog}
      aria-label={label}
      onCancel={(event) => {
        event.preventDefault();
        onClose?.();
      }}
    >
      {children}
    </dialog>
  );
}
