/** The menus for the range and for what it is compared with. */

import { html, type TemplateResult } from "lit";

import { COMPARISONS, type Comparison, dayOf, preset, PRESETS, rangeOf } from "../../data/range.ts";
import type { WithPage } from "../base.ts";
import type { Menus } from "./menus.ts";

export function rangeMenu({ page, format: f }: WithPage, menus: Menus): TemplateResult {
  const { range } = page;
  const name = range.preset ? f.text(range.preset) : f.range(range);
  const custom = (event: SubmitEvent): void => {
    event.preventDefault();
    const data = new FormData(event.target as HTMLFormElement);
    const found = rangeOf([data.get("from"), data.get("to")].map(String).sort().join(".."));
    if (found) menus.close(() => (page.range = found));
  };
  return menus.menu("range", { title: f.text("custom"), icon: "calendar", name, chevron: true }, () => html`
    ${PRESETS.map((one) => menus.item(f.text(one), () => (page.range = preset(one, page.today)), range.preset === one))}
    <form @submit=${custom}>
      <div class="dates">
        <label>${f.text("from")}<input class="field" name="from" type="date" required .value=${dayOf(range.from)} max=${page.today}></label>
        <label>${f.text("to")}<input class="field" name="to" type="date" required .value=${dayOf(range.to)}></label>
      </div>
      <button class="button primary">${f.text("apply")}</button>
    </form>`);
}

export function compareMenu({ page, format: f }: WithPage, menus: Menus): TemplateResult {
  const text = (one: Comparison): string => f.text(`compare_${one}`);
  const name = text(page.comparison);
  const look = { title: f.text("compare"), label: `${f.text("compare")}: ${name}`, icon: "compare", name, classes: "icon-only", chevron: true } as const;
  return menus.menu("compare", look, () =>
    COMPARISONS.map((one) => menus.item(text(one), () => (page.comparison = one), page.comparison === one)));
}
