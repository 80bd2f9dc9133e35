/** The look of the dashboard: its controls, their sheets on a phone, and the grid below them. */

import { css, unsafeCSS } from "lit";

import { PHONE_PX } from "./menus.ts";

export const dashboard = css`
  :host {
    container-name: page;
    --_width: 1200px;
  }
  .bar {
    position: sticky;
    inset-block-start: var(--nealytics-sticky, 0px);
    z-index: 10;
    display: flex;
    flex-wrap: wrap;
    align-items: center;
    gap: 8px;
    margin: -8px -8px calc(var(--_gap) - 8px);
    padding: 8px;
    border-radius: 0 0 var(--_radius) var(--_radius);
  }
  /* Only then, since an element has no background of its own. */
  .bar[data-stuck] {
    background: color-mix(in oklab, var(--_sheet) 88%, transparent);
    backdrop-filter: blur(12px);
    box-shadow: 0 1px 0 var(--_border);
  }
  .sample {
    margin-block-end: var(--_gap);
  }
  .first {
    display: grid;
    justify-items: center;
    gap: 6px;
    padding: 48px 20px;
    border: 1px solid var(--_border);
    border-radius: var(--_radius);
    background: var(--_surface);
    text-align: center;
  }
  .first p {
    margin: 0;
  }
  .first .sample {
    margin-block: 18px 0;
  }
  .chips {
    display: contents;
  }
  .end {
    margin-inline-start: auto;
  }
  .bar .said {
    color: var(--_muted);
    font-size: 13px;
  }
  .bar > .pick {
    max-width: 200px;
  }
  [part="range"] {
    min-width: 0;
    max-width: 100%;
  }
  .name {
    overflow: hidden;
    text-overflow: ellipsis;
  }
  .chip {
    display: inline-flex;
    align-items: center;
    gap: 4px;
    max-width: min(320px, 100%);
    min-height: 34px;
    padding-inline: 12px 4px;
    border-radius: var(--_inner);
    background: color-mix(in oklab, var(--_accent) 12%, transparent);
  }
  .chip span {
    overflow: hidden;
    text-overflow: ellipsis;
    white-space: nowrap;
  }
  .printed {
    display: none;
    margin: 0 0 var(--_gap);
  }
  .layout,
  ::slotted(*) {
    min-width: 0;
  }
  .layout {
    display: grid;
    grid-template-columns: repeat(12, minmax(0, 1fr));
    gap: var(--_gap);
  }
  .layout > * {
    grid-column: span 6;
  }
  .layout > .wide {
    grid-column: 1 / -1;
  }
  slot {
    display: grid;
    gap: var(--_gap);
  }
  form {
    display: grid;
    gap: 8px;
    padding: 8px 10px;
    border-block-start: 1px solid var(--_border);
    margin-block-start: 6px;
  }
  .dates {
    display: grid;
    grid-template-columns: repeat(auto-fit, minmax(140px, 1fr));
    gap: 8px;
  }
  label {
    display: grid;
    gap: 2px;
    font-size: 12px;
    color: var(--_muted);
  }
  .values {
    max-height: 320px;
    min-height: 120px;
    width: 280px;
    overflow-y: auto;
    overscroll-behavior: contain;
    scrollbar-width: thin;
  }
  .values .item span:first-child {
    flex: 1;
    overflow: hidden;
    text-overflow: ellipsis;
  }
  .search {
    display: grid;
    grid-template-columns: auto 1fr;
    gap: 4px;
    margin-block-end: 6px;
  }
  .values p {
    margin: 10px;
  }
  @container page (max-width: 760px) {
    .layout > * {
      grid-column: 1 / -1;
    }
  }
  .sheet[popover] {
    position: fixed;
    inset: auto 0 0;
    width: auto;
    max-height: 85vh;
    margin: 0;
    padding: 12px 12px max(16px, env(safe-area-inset-bottom));
    border-width: 1px 0 0;
    border-radius: 16px 16px 0 0;
    color: inherit;
    overflow-y: auto;
    animation: rise 0.18s ease-out;
  }
  .sheet[popover]::backdrop {
    background: rgb(0 0 0 / 40%);
  }
  .sheet[popover] .item {
    min-height: 44px;
  }
  .sheet[popover] .values {
    width: auto;
    max-height: none;
  }
  @keyframes rise {
    from {
      transform: translateY(40%);
      opacity: 0;
    }
  }
  @container page (max-width: ${unsafeCSS(PHONE_PX)}px) {
    /* One line, and what narrows the page in another below it. */
    .bar > .menu:first-child {
      min-width: 0;
      max-width: calc(100% - 134px);
    }
    [part="range"] svg:first-child {
      display: none;
    }
    .bar {
      flex-wrap: wrap;
    }
    .bar > .pick {
      order: 1;
      flex: 1 0 100%;
      max-width: none;
    }
    .chips:not(:empty) {
      order: 1;
      flex: 1 0 100%;
      display: flex;
      gap: 8px;
      overflow-x: auto;
      scrollbar-width: none;
    }
    .chip {
      flex: none;
      max-width: 100%;
    }
    .icon-only .name,
    .icon-only svg:last-child:not(:first-child) {
      display: none;
    }
    .icon-only {
      width: 34px;
      padding: 0;
      justify-content: center;
    }
  }
  @container page (max-width: 260px) {
    [part="range"] svg {
      display: none;
    }
  }
  @media print {
    .bar {
      display: none;
    }
    .printed {
      display: block;
    }
    .layout > * {
      grid-column: span 6;
    }
    .layout > .wide {
      grid-column: 1 / -1;
    }
  }
`;
