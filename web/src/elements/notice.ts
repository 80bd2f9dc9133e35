/** What a dashboard says once for all of its elements: why there is no answer, and of when is what they show. */

import { css, html, nothing, type TemplateResult } from "lit";

import type { Page } from "../data/page.ts";
import type { Format } from "../text/format.ts";
import { canRetry, reasonOf } from "./reason.ts";

export const noticeStyles = css`
  .notice:not(:empty) {
    display: flex;
    flex-wrap: wrap;
    align-items: center;
    gap: 4px 10px;
    margin-block-end: var(--_gap);
    padding: 8px 8px 8px 16px;
    border: 1px solid var(--_border);
    border-radius: var(--_radius);
    background: var(--_fill);
  }
  .notice .button {
    margin-inline-start: auto;
  }
  .notice .button[aria-busy="true"] {
    animation: breathe 1.6s ease-in-out infinite;
  }
  /* In place of everything that it is about. */
  .notice.blank {
    flex-direction: column;
    gap: 6px;
    padding: 48px 20px;
    background: var(--_surface);
    text-align: center;
    text-wrap: balance;
  }
  .notice.blank .button {
    margin: 6px 0 0;
  }
  @keyframes breathe {
    50% {
      opacity: 0.5;
    }
  }
`;

/** The element is always there, since screen readers announce only what changes inside of it. */
export function notice(page: Page, f: Format, dev: boolean, isBlank: boolean): TemplateResult {
  return html`<div class="notice ${isBlank ? "blank" : ""}" part="notice" role="status">${page.trouble ? lines(page, f, dev) : nothing}</div>`;
}

function lines(page: Page, f: Format, dev: boolean): TemplateResult {
  const { error, since } = page.trouble as NonNullable<Page["trouble"]>;
  const [reason, hint] = reasonOf(error, f);
  // What is shown is shown, so of the reason only what says more than that.
  const said = since ? [f.text("outdated", f.moment(since)), reason === f.text("unavailable") ? "" : reason, hint] : [reason, hint];
  return html`${said.filter(Boolean).map((text, i) => html`<span class=${i ? "muted" : ""}>${text}</span>`)}
    ${dev ? html`<span class="muted"><code>${error.code}</code> ${error.message}</span>` : nothing}
    ${canRetry(error) ? html`<button class="button" aria-busy=${page.isAsking ? "true" : "false"} @click=${() => page.refresh()}>${f.text("retry")}</button>` : nothing}`;
}
