/** A single event, as the timeline and the live list show it. */

import { css, html, nothing, type TemplateResult } from "lit";

import type { Format } from "../text/format.ts";

export interface Event {
  readonly eventId: string;
  readonly tenantId?: string;
  readonly sessionId?: string;
  readonly userId?: string;
  readonly eventType: string;
  readonly itemId?: string;
  readonly metadataJson?: string;
  readonly timestamp: string;
}

export const eventStyles = css`
  .event {
    display: grid;
    grid-template-columns: minmax(0, 1fr) minmax(0, auto) auto;
    align-items: center;
    gap: 4px 16px;
    width: 100%;
    min-height: 38px;
    padding: 0 8px;
    border: 0;
    border-radius: var(--_small);
    background: none;
    text-align: start;
  }
  .what {
    display: flex;
    gap: 6px;
    min-width: 0;
  }
  /* What happened keeps its room longer than where. */
  .what .muted {
    flex-shrink: 4;
  }
  .type {
    font-weight: 500;
  }
  .who {
    min-width: 0;
    max-width: 180px;
    color: var(--_muted);
  }
  .at {
    min-width: 62px;
    color: var(--_muted);
    text-align: end;
    font-variant-numeric: tabular-nums;
    white-space: nowrap;
  }
  @container (max-width: 420px) {
    .event {
      grid-template-columns: minmax(0, 1fr) auto;
    }
    .event .who {
      display: none;
    }
  }
`;

/** Filters for a question about one session or user; the same id in another tenant is another one. */
export function ofTenant(filters: readonly string[], tenant: string | undefined): readonly string[] {
  return tenant === undefined ? filters : [...filters, `tenant_id:eq:${tenant}`];
}

/** The cells of an `.event`: what, who, when. */
export function eventCells(f: Format, event: Event, at = f.clock(new Date(event.timestamp))): TemplateResult {
  return html`<span class="what"><bdi class="type clipped">${event.eventType}</bdi>${event.itemId ? html`<bdi class="clipped muted">${event.itemId}</bdi>` : nothing}</span>
    <span class="who"><bdi class="clipped">${event.userId ?? ""}</bdi></span>
    <time class="at" datetime=${event.timestamp}>${at}</time>`;
}

/** The metadata of the top level, as names and texts. */
export function metadataOf(event: Event): readonly (readonly [string, string])[] {
  try {
    const found: unknown = JSON.parse(event.metadataJson ?? "{}");
    if (typeof found !== "object" || found === null) return [];
    return Object.entries(found).map(([name, value]) => [name, typeof value === "string" ? value : JSON.stringify(value)]);
  } catch {
    return [["", event.metadataJson ?? ""]];
  }
}
