// A small page of a SaaS, for tests/browser/test_react.py: with React 18 and with 19.
import { StrictMode, useState } from "react";
import { createRoot } from "react-dom/client";
import { NealyticsDashboard, NealyticsFigures, NealyticsProvider, NealyticsTop, useNealytics } from "nealytics/react";

globalThis.heard = [];
globalThis.asked = 0;
const note = (name) => (event) => heard.push([name, event.detail]);

function Controls() {
  const { range, filters, ready, set } = useNealytics();
  return (
    <p id="controls">
      <button onClick={() => set({ range: "7d" })}>Week</button>
      <button onClick={() => set({ filters: [] })}>All</button>
      <output>{JSON.stringify({ range, filters: filters ?? null, ready })}</output>
    </p>
  );
}

function App({ node, token }) {
  const [shown, show] = useState(true);
  const [count, setCount] = useState(0);
  // Another function each time, as people write it.
  const getToken = async () => {
    asked += 1;
    // Both pages ask before it is here.
    await new Promise((resolve) => setTimeout(resolve, 100));
    return token;
  };
  return (
    <NealyticsProvider src={node} getToken={getToken} range="30d" tz="Europe/Berlin" messages={{ events: "Things" }}>
      <Controls />
      <button id="toggle" onClick={() => show(!shown)}>Toggle</button>
      <button id="again" onClick={() => setCount(count + 1)}>Again {count}</button>
      {shown && (
        <NealyticsDashboard
          className="mine" data-count={count} syncUrl={false} dev={true} ref={(element) => (globalThis.dashboard = element)}
          onReady={note("ready")} onRangeChange={note("range")} onFilterChange={note("filter")} onError={note("error")}
          onSelect={(event) => {
            note("select")(event);
            if (globalThis.refuse) event.preventDefault();
          }}
        >
          <NealyticsFigures />
          <NealyticsTop dimension="item_id" limit={5} heading="Pages" />
        </NealyticsDashboard>
      )}
      <NealyticsFigures id="alone" range={undefined} filters={undefined} />
    </NealyticsProvider>
  );
}

globalThis.start = (options) => {
  const root = createRoot(document.querySelector("main"));
  root.render(<StrictMode><App {...options} /></StrictMode>);
  globalThis.stop = () => root.unmount();
};
