/** Which menu of the controls is open, where the focus goes, and how a menu looks: below its button, on a phone a sheet. */

import { html, nothing, type ReactiveController, type TemplateResult } from "lit";

import type { WithPage } from "../base.ts";
import { icon } from "../dom.ts";

export type Menu = "range" | "compare" | "add-filter" | "more";

/** Up to this width the menus are sheets at the bottom of the screen. */
export const PHONE_PX = 600;

interface Look {
  /** Of the menu. */
  readonly title: string;
  readonly icon: Parameters<typeof icon>[0];
  /** What stands beside the icon, if there is room. */
  readonly name?: string;
  /** Of the button, where `name` does not say it all. */
  readonly label?: string;
  readonly classes?: string;
  readonly end?: boolean;
  readonly chevron?: boolean;
}

export class Menus implements ReactiveController {
  #open: Menu | undefined;
  #focus = false;
  /** Called after another menu was opened, or this one closed. */
  changed: () => void = () => {};

  constructor(private readonly host: WithPage) {
    host.addController(this);
  }

  get open(): Menu | undefined {
    return this.#open;
  }

  hostConnected(): void {
    document.addEventListener("pointerdown", this.#pressed);
  }

  hostDisconnected(): void {
    document.removeEventListener("pointerdown", this.#pressed);
  }

  hostUpdated(): void {
    if (!this.#focus) return;
    this.#focus = false;
    const sheet = this.host.renderRoot.querySelector<HTMLElement>(".sheet");
    // In the top layer, which no container of the page around cuts off.
    if (sheet?.hasAttribute("popover") && !sheet.matches(":popover-open")) sheet.showPopover();
    sheet?.querySelector<HTMLElement>("input[type=search], .item")?.focus();
  }

  #show(menu: Menu | undefined): void {
    if (menu === this.#open) return;
    this.#open = menu;
    this.changed();
    this.refocus();
  }

  /** To the first thing in the menu, once what it shows from now on is there. */
  refocus(): void {
    this.#focus = this.#open !== undefined;
    this.host.requestUpdate();
  }

  /** Closes the menu, does what was chosen, and gives the focus back to its button. */
  close(then: () => void): void {
    const menu = this.#open;
    this.#show(undefined);
    then();
    void this.host.updateComplete.then(() => this.host.renderRoot.querySelector<HTMLElement>(`[part="${menu}"]`)?.focus());
  }

  /** A button and, while it is open, what `content` gives. */
  menu(menu: Menu, look: Look, content: () => unknown): TemplateResult {
    const open = this.#open === menu;
    const sheet = (): TemplateResult => html`<div class="sheet ${look.end ? "end" : ""}" role="dialog" aria-label=${look.title}
      popover=${this.host.clientWidth <= PHONE_PX ? "manual" : nothing}>${content()}</div>`;
    return html`<div class="menu">
      <button class="button ${look.classes ?? ""}" part=${menu} aria-haspopup="dialog" aria-expanded=${open}
        aria-label=${look.label ?? nothing} @click=${() => this.#show(open ? undefined : menu)}>
        ${icon(look.icon)}${look.name === undefined ? nothing : html`<span class="name">${look.name}</span>`}${look.chevron ? icon("chevron") : nothing}
      </button>
      ${open ? sheet() : nothing}
    </div>`;
  }

  /** One of the things to choose in a menu. */
  item(text: string, choose: () => void, current = false): TemplateResult {
    return html`<button class="item" aria-current=${current ? "true" : "false"} @click=${() => this.close(choose)}>${text}</button>`;
  }

  readonly escape = (event: KeyboardEvent): void => {
    if (event.key === "Escape" && this.#open) this.close(() => {});
  };

  readonly left = (event: FocusEvent): void => {
    const menu = (event.target as Element).closest(".menu");
    const to = event.relatedTarget as Node | null;
    if (to && menu && !menu.contains(to)) this.#show(undefined);
  };

  readonly #pressed = (event: PointerEvent): void => {
    const inside = event.composedPath().some((node) => node instanceof Element && node.matches(".bar .menu"));
    if (!inside) this.#show(undefined);
  };
}
