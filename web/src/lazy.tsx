/** A part of the page whose code is loaded when it is first shown. */
import type { FunctionComponent, JSX } from "preact";
import { useEffect, useState } from "preact/hooks";

export interface LazyProps<P extends object> {
  readonly load: () => Promise<FunctionComponent<P>>;
  /** Its properties. */
  readonly of: P;
}

export function Lazy<P extends object>({ load, of }: LazyProps<P>): JSX.Element {
  const [view, setView] = useState<{ readonly View: FunctionComponent<P> }>();
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
  return view === undefined ? <div class="lazy" aria-busy="true" /> : <view.View {...of} />;
}
