/** A small line without axes beside a number. The number tells it to screen readers. */

import { css, html, nothing, svg, type TemplateResult } from "lit";

export const sparkStyles = css`
  .spark {
    display: block;
    width: 100%;
    height: 32px;
    margin-top: 6px;
    overflow: visible;
  }
  .spark path {
    fill: none;
    stroke: var(--_accent);
    stroke-width: 1.5;
    vector-effect: non-scaling-stroke;
    stroke-linejoin: round;
    stroke-linecap: round;
  }
`;

/** Without values, or with one only, it keeps the place. Its top is at least `most`; where a value is null it has a gap. */
export function spark(values: readonly (number | null)[] = [], most = 1): TemplateResult {
  const known = values.map((value) => value ?? 0);
  const least = Math.min(...known, 0);
  const height = Math.max(...known, most) - least || 1;
  const at = (value: number, i: number): Place => [(i / (values.length - 1)) * 100, 30 - ((value - least) / height) * 28];
  return html`<svg class="spark" aria-hidden="true" viewBox="0 0 100 32" preserveAspectRatio="none">
    ${values.length > 1 ? svg`<path d=${pathOf(values.map((value, i) => (value === null ? null : at(value, i))))}/>` : nothing}
  </svg>`;
}

export type Place = readonly [x: number, y: number];

/** A line through places, which is interrupted where there is none. A place between two gaps is a dot, with round line caps. */
export function pathOf(places: readonly (Place | null)[]): string {
  return runs(places).map((run) => `M${(run.length > 1 ? run : [...run, ...run]).map(([x, y]) => `${round(x)} ${round(y)}`).join("L")}`).join("");
}

/** What follows each other without a gap. */
export function runs<T>(values: readonly (T | null)[]): T[][] {
  const found: T[][] = [[]];
  for (const value of values) {
    if (value === null) found.push([]);
    else found.at(-1)?.push(value);
  }
  return found.filter((run) => run.length > 0);
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
