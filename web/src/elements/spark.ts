/** A small line without axes beside a number. The number tells it to screen readers. */

import { css, html, svg, type TemplateResult } from "lit";
import { line } from "d3-shape";

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
  }
`;

export function spark(values: readonly number[]): TemplateResult {
  if (values.length < 2) return html`<svg class="spark" aria-hidden="true"></svg>`;
  const top = Math.max(...values, 1);
  const path = line<number>((_, i) => (i / (values.length - 1)) * 100, (value) => 30 - (value / top) * 28)(values);
  return html`<svg class="spark" aria-hidden="true" viewBox="0 0 100 32" preserveAspectRatio="none">${svg`<path d=${path}/>`}</svg>`;
}
