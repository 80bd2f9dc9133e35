/** `/`: whether the node is ready, and if not, why. */

interface Part {
  readonly ok: boolean;
  readonly problem?: string;
}
interface Readiness {
  readonly clickhouse: Part;
  readonly committer: Part;
  readonly log: Part;
  readonly waitingEvents: number;
}

const AGAIN_AFTER_MS = 5_000;

const state = document.querySelector(".state") as HTMLElement;
const reasons = document.querySelector(".reasons") as HTMLElement;

function show(is: "ready" | "not-ready" | "silent", text: string, problems: readonly string[] = []): void {
  state.dataset["state"] = is;
  if (state.textContent !== text) state.textContent = text;
  reasons.replaceChildren(...problems.map((problem) => Object.assign(document.createElement("li"), { textContent: problem })));
}

/** Without those that say the same. The committer's has no quoted values, because a value may be of an event. */
function distinct(problems: readonly string[]): string[] {
  const texts = problems.map((problem) => problem.replace(/'[^']*'/g, "'…'"));
  return problems.filter((_, index) => texts.indexOf(texts[index]!) === index);
}

async function look(): Promise<void> {
  try {
    const response = await fetch("ready", { cache: "no-store" });
    const { clickhouse, committer, log } = (await response.json()) as Readiness;
    const problems = distinct([clickhouse, committer, log].flatMap(({ problem }) => problem ?? []));
    if (response.ok) show("ready", "Ready: accepting events and queries.");
    else show("not-ready", log.ok ? "Accepting events, but not ready for queries:" : "Not ready:", problems);
  } catch {
    show("silent", "The node does not answer.");
  }
  setTimeout(() => void look(), AGAIN_AFTER_MS);
}

void look();
