/**
 * The look that all elements share. Colours derive from the host's text colour, so that the elements fit into any
 * page, light or dark; a host sets `--nealytics-*` to change them. No element has a background of its own.
 */

import { css } from "lit";

export const theme = css`
  :host {
    text-align: start;
    --_text: var(--nealytics-text, currentColor);
    --_muted: var(--nealytics-muted, color-mix(in oklab, var(--_text) 66%, transparent));
    --_border: var(--nealytics-border, color-mix(in oklab, var(--_text) 13%, transparent));
    --_fill: color-mix(in oklab, var(--_text) 6%, transparent);
    --_surface: var(--nealytics-surface, transparent);
    --_sheet: var(--nealytics-sheet, light-dark(#ffffff, #1b1e24));
    --_accent: var(--nealytics-accent, light-dark(#3163e6, #7da0ff));
    --_accent-contrast: var(--nealytics-accent-contrast, light-dark(#ffffff, #0f1115));
    --_positive: var(--nealytics-positive, light-dark(#0f7b46, #4cc38a));
    --_negative: var(--nealytics-negative, light-dark(#b3261e, #ff8f85));
    --_radius: var(--nealytics-radius, 12px);
    --_inner: calc(var(--_radius) * 2 / 3); /* of what is in a card */
    --_small: calc(var(--_radius) / 2);
    --_gap: var(--nealytics-gap, 16px);
    --_s1: var(--nealytics-series-1, var(--_accent));
    --_s2: var(--nealytics-series-2, light-dark(oklch(0.62 0.15 55), oklch(0.74 0.13 55)));
    --_s3: var(--nealytics-series-3, light-dark(oklch(0.62 0.15 190), oklch(0.74 0.13 190)));
    --_s4: var(--nealytics-series-4, light-dark(oklch(0.62 0.15 350), oklch(0.74 0.13 350)));
    --_s5: var(--nealytics-series-5, light-dark(oklch(0.62 0.15 95), oklch(0.74 0.13 95)));
    --_s6: var(--nealytics-series-6, light-dark(oklch(0.62 0.15 305), oklch(0.74 0.13 305)));
    --_s7: var(--nealytics-series-7, light-dark(oklch(0.62 0.15 150), oklch(0.74 0.13 150)));
    --_s8: var(--nealytics-series-8, light-dark(oklch(0.62 0.02 260), oklch(0.74 0.02 260)));
    /*
     * A container has no width of its own, so a parent that takes the width of its content (a column with
     * align-items, a float) would make it 0 wide. Grid tracks count all the same: the first is its preferred width.
     */
    display: grid;
    grid-template-columns: minmax(0, var(--_width, 640px)) minmax(0, 1fr);
    box-sizing: border-box;
    color: var(--_text);
    font-family: var(--nealytics-font, inherit);
    font-size: var(--nealytics-font-size, 14px);
    line-height: 1.45;
    container-type: inline-size;
    min-width: 0;
  }
  /*
   * A text colour that only just can be read is not made paler: on the ground that it can be read on, the result has
   * a contrast of 4.5 as well. 0.585 is the lightness that can be read on black and on white.
   */
  @supports (color: oklch(from currentColor l c h / alpha)) {
    :host {
      --_muted: var(--nealytics-muted, oklch(from var(--_text) l c h / min(alpha, max(0.66, 1.02 - 0.9 * max(l - 0.585, 0.585 - l)))));
    }
  }
  :host > * {
    grid-column: 1 / -1;
  }
  :host([hidden]) {
    display: none;
  }
  :host([theme="light"]) {
    color-scheme: light;
  }
  :host([theme="dark"]) {
    color-scheme: dark;
  }
  *,
  *::before,
  *::after {
    box-sizing: border-box;
  }
  @media (prefers-reduced-motion: reduce) {
    *,
    *::before,
    *::after {
      animation: none !important;
      transition: none !important;
    }
  }
  button,
  input,
  select {
    font: inherit;
    color: inherit;
    letter-spacing: inherit;
  }
  :focus-visible {
    outline: 2px solid var(--_accent);
    outline-offset: 2px;
    border-radius: var(--_small);
  }
  .number {
    font-variant-numeric: tabular-nums;
  }
  bdi {
    font: inherit;
  }
  /* Of a name that is cut its beginning is shown, also of a Latin one in Arabic. */
  .clipped {
    display: block;
    min-width: 0;
    overflow: hidden;
    text-align: -webkit-match-parent;
    text-align: match-parent;
    text-overflow: ellipsis;
    white-space: nowrap;
  }
  .muted {
    color: var(--_muted);
  }
  .up {
    color: var(--_positive);
  }
  .down {
    color: var(--_negative);
  }
  /* Ink on paper, whatever the screen shows, and bars and cells with their colours. */
  @media print {
    :host,
    :host([theme]) {
      color-scheme: light;
      print-color-adjust: exact;
      --_text: #14171c;
      --_muted: #565b63;
      --_border: #d9dbdf;
      --_surface: transparent;
    }
  }
  @media (forced-colors: active) {
    :host,
    :host([theme]) {
      --_text: CanvasText;
      --_muted: CanvasText;
      --_border: CanvasText;
      --_sheet: Canvas;
      --_accent: Highlight;
      --_accent-contrast: HighlightText;
      --_positive: CanvasText;
      --_negative: CanvasText;
    }
    /* These are drawn by their background. */
    .fill,
    .row::before {
      forced-color-adjust: none;
    }
  }
  .sr {
    position: absolute;
    width: 1px;
    height: 1px;
    margin: -1px;
    overflow: hidden;
    clip-path: inset(50%);
    white-space: nowrap;
  }
`;

export const controls = css`
  .sample {
    display: flex;
    flex-wrap: wrap;
    align-items: center;
    gap: 8px;
    max-width: 100%;
    text-align: start;
  }
  .sample p {
    flex: 1 0 100%;
    margin: 0;
  }
  .sample code {
    flex: 1 1 200px;
    min-width: 0;
    padding: 8px 10px;
    border-radius: var(--_inner);
    background: var(--_fill);
    font: 12px/1.5 ui-monospace, monospace;
    overflow-wrap: anywhere;
    user-select: all;
  }
  .button {
    display: inline-flex;
    align-items: center;
    gap: 6px;
    min-height: 34px;
    padding: 0 12px;
    border: 1px solid var(--_border);
    border-radius: var(--_inner);
    background: var(--_surface);
    cursor: pointer;
    white-space: nowrap;
  }
  .button:hover {
    background: var(--_fill);
  }
  .button:disabled {
    opacity: 0.45;
    background: none;
    cursor: default;
  }
  .button.icon {
    padding: 0;
    width: 34px;
    justify-content: center;
  }
  .button.quiet {
    border-color: transparent;
    background: none;
    color: var(--_muted);
    min-height: 28px;
  }
  .button.icon.quiet {
    width: 28px;
  }
  .button.quiet:hover,
  .button.quiet[aria-expanded="true"] {
    background: var(--_fill);
    color: var(--_text);
  }
  .button.primary {
    justify-content: center;
    border-color: transparent;
    background: var(--_accent);
    color: var(--_accent-contrast);
  }
  .button svg,
  .pick svg {
    width: 16px;
    height: 16px;
    fill: none;
    stroke: currentColor;
    stroke-width: 1.6;
    stroke-linecap: round;
    stroke-linejoin: round;
    flex: none;
  }
  .field {
    min-height: 34px;
    min-width: 0;
    padding: 0 10px;
    border: 1px solid var(--_border);
    border-radius: var(--_inner);
    background: none;
    color: var(--_text);
  }
  .field::placeholder {
    color: var(--_muted);
  }
  /* A select with our chevron: <span class="pick"><select>…</select>ICON</span>. */
  .pick {
    position: relative;
    display: inline-flex;
    min-width: 0;
  }
  .pick select {
    appearance: none;
    width: 100%;
    min-height: 34px;
    padding: 0;
    padding-inline: 10px 30px;
    border: 1px solid var(--_border);
    border-radius: var(--_inner);
    background: none;
    text-overflow: ellipsis;
    cursor: pointer;
  }
  .pick select:hover {
    background: var(--_fill);
  }
  .pick option {
    background: var(--_sheet);
  }
  .pick svg {
    position: absolute;
    inset-inline-end: 9px;
    inset-block: 0;
    margin-block: auto;
    pointer-events: none;
  }
  .menu {
    position: relative;
  }
  .sheet {
    position: absolute;
    z-index: 20;
    inset-block-start: calc(100% + 6px);
    inset-inline-start: 0;
    min-width: 210px;
    padding: 6px;
    border: 1px solid var(--_border);
    border-radius: var(--_radius);
    background: var(--_sheet);
    box-shadow: 0 8px 28px rgb(0 0 0 / 14%);
  }
  .sheet.end {
    inset-inline: auto 0;
  }
  .item {
    display: flex;
    align-items: center;
    gap: 8px;
    width: 100%;
    min-height: 34px;
    padding: 0 10px;
    border: 0;
    border-radius: var(--_inner);
    background: none;
    text-align: start;
    cursor: pointer;
    white-space: nowrap;
  }
  .item:hover,
  .item:focus-visible {
    background: var(--_fill);
  }
  .item[aria-checked="true"],
  .item[aria-current="true"] {
    color: var(--_accent);
    font-weight: 600;
  }
`;

export const card = css`
  section {
    height: 100%;
    padding: 16px 18px 18px;
    border: 1px solid var(--_border);
    border-radius: var(--_radius);
    background: var(--_surface);
    display: flex;
    flex-direction: column;
    gap: 12px;
    min-width: 0;
  }
  header {
    display: flex;
    align-items: center;
    justify-content: space-between;
    gap: 8px;
    min-height: 28px;
  }
  h3 {
    margin: 0;
    font-size: inherit;
    font-weight: 600;
    min-width: 0;
    overflow: hidden;
    text-overflow: ellipsis;
    white-space: nowrap;
  }
  .outdated {
    margin: 0;
    color: var(--_muted);
    font-size: 12px;
  }
  .body {
    position: relative;
    flex: 1;
    min-width: 0;
    transition: opacity 0.2s 0.4s;
  }
  .body[data-state="stale"] {
    opacity: 0.45;
  }
  .skeleton {
    border-radius: var(--_inner);
    background: var(--_fill);
    animation: breathe 1.6s ease-in-out infinite;
  }
  .note {
    display: flex;
    flex-direction: column;
    align-items: center;
    justify-content: center;
    gap: 6px;
    min-height: 120px;
    height: 100%;
    padding: 16px;
    text-align: center;
    text-wrap: balance;
  }
  .note p {
    margin: 0;
  }
  .note .button {
    margin-top: 6px;
  }
  /* More of it is to be seen by scrolling to the side. */
  .fades[data-more] {
    mask-image: linear-gradient(to right, #000 calc(100% - 36px), transparent);
  }
  .fades[data-more]:dir(rtl) {
    mask-image: linear-gradient(to left, #000 calc(100% - 36px), transparent);
  }
  .absent .skeleton {
    animation: none;
  }
  @keyframes breathe {
    50% {
      opacity: 0.5;
    }
  }
  @media print {
    header .menu,
    .body .button,
    header .button,
    .search {
      display: none;
    }
    section {
      break-inside: avoid;
    }
  }
`;

/** Rows with a bar behind the text: `<ol class="bars">` of `.row`, whose `--share` is the bar's length. */
export const bars = css`
  .bars {
    display: grid;
    grid-template-columns: minmax(0, 1fr);
    gap: 2px;
    margin: 0;
    padding: 0;
    list-style: none;
  }
  .row {
    position: relative;
    display: flex;
    align-items: center;
    justify-content: space-between;
    gap: 16px;
    width: 100%;
    min-height: 32px;
    padding: 0 10px;
    border: 0;
    border-radius: var(--_small);
    background: none;
    text-align: start;
    cursor: pointer;
    overflow: clip;
  }
  .row::before {
    content: "";
    position: absolute;
    inset-block: 1px;
    inset-inline-start: 0;
    /* The longest ends where the numbers begin. */
    width: calc((100% - 64px) * var(--share));
    border-radius: var(--_small);
    background: color-mix(in oklab, var(--_accent) 13%, transparent);
    transition: background 0.15s;
  }
  button.row:hover::before,
  .row:focus-visible::before {
    background: color-mix(in oklab, var(--_accent) 24%, transparent);
  }
  .row.rest {
    cursor: default;
  }
  .key {
    position: relative;
    overflow: hidden;
    text-overflow: ellipsis;
    white-space: nowrap;
    min-width: 0;
  }
  .count {
    position: relative;
    display: flex;
    gap: 10px;
    font-variant-numeric: tabular-nums;
  }
  .share {
    color: var(--_muted);
    opacity: 0;
    transition: opacity 0.15s;
  }
  .row:hover .share,
  .row:focus-visible .share {
    opacity: 1;
  }
`;
