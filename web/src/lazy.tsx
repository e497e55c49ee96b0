/** A view whose code is loaded when it is first shown. */
import type { FunctionComponent, JSX } from "preact";
import { useEffect, useState } from "preact/hooks";

export interface LazyProps {
  readonly load: () => Promise<FunctionComponent>;
}

export function Lazy({ load }: LazyProps): JSX.Element {
  const [view, setView] = useState<{ readonly View: FunctionComponent }>();
  const [failed, setFailed] = useState(false);
  useEffect(() => {
    let isHere = true;
    load().then(
      (View) => isHere && setView({ View }),
      () => isHere && setFailed(true),
    );
    return () => {
      isHere = false;
    };
  }, [load]);
  if (failed) return <p class="hint">This part of the page could not be loaded. Reload the page.</p>;
  return view === undefined ? <div class="lazy" aria-busy="true" /> : <view.View />;
}
