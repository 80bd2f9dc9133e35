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
  }
`;

/** Without values, or with one only, it keeps the place. */
export function spark(values: readonly number[] = []): TemplateResult {
  const top = Math.max(...values, 1);
  const points = values.map((value, i) => `${(i / (values.length - 1)) * 100} ${30 - (value / top) * 28}`);
  return html`<svg class="spark" aria-hidden="true" viewBox="0 0 100 32" preserveAspectRatio="none">
    ${values.length > 1 ? svg`<path d="M${points.join("L")}"/>` : nothing}
  </svg>`;
}
