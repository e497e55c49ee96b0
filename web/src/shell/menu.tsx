/** A menu below a button: arrow keys walk, Escape closes, the focus goes back to where it was. */
import type { JSX } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";
import { Icon, type IconName } from "../icons.js";

export interface MenuItem {
  readonly icon: IconName;
  readonly name: string;
  readonly danger?: boolean;
  readonly run: () => void;
}

export interface MenuProps {
  readonly items: readonly MenuItem[];
  readonly onClose: () => void;
}

/** Distance of a menu from the edge of the window, in pixels. */
const gap = 8;

/** On a narrow page a button may be so far right that the menu below it would end outside. */
function keepInside(menu: HTMLElement): void {
  const { left, right } = menu.getBoundingClientRect();
  const over = right - (document.documentElement.clientWidth - gap);
  if (over > 0) menu.style.transform = `translateX(${-Math.min(over, left - gap)}px)`;
}

export function Menu({ items, onClose }: MenuProps): JSX.Element {
  const menu = useRef<HTMLDivElement>(null);
  useLayoutEffect(() => {
    const opener = document.activeElement;
    if (menu.current !== null) keepInside(menu.current);
    menu.current?.querySelector("button")?.focus();
    const onDown = (event: PointerEvent) => {
      if (!menu.current?.contains(event.target as Node)) onClose();
    };
    document.addEventListener("pointerdown", onDown);
    return () => {
      document.removeEventListener("pointerdown", onDown);
      if (menu.current?.contains(document.activeElement)) (opener as HTMLElement | null)?.focus();
    };
  }, []);
  const onKeyDown = (event: KeyboardEvent) => {
    event.stopPropagation();
    const buttons = [...menu.current!.querySelectorAll("button")];
    const at = buttons.indexOf(document.activeElement as HTMLButtonElement);
    if (event.key === "Escape" || event.key === "Tab") onClose();
    else if (event.key === "ArrowDown") buttons[(at + 1) % buttons.length]?.focus();
    else if (event.key === "ArrowUp") buttons.at(at - 1)?.focus();
    else return;
    event.preventDefault();
  };
  return (
    <div class="menu" role="menu" ref={menu} onKeyDown={onKeyDown}>
      {items.map(({ icon, name, danger, run }) => (
        <button
          key={name}
          type="button"
          role="menuitem"
          class={danger === true ? "danger" : ""}
          onClick={() => {
            onClose();
            run();
          }}
        >
          <Icon name={icon} /> {name}
        </button>
      ))}
    </div>
  );
}
