// The same on a server, where there is no DOM.
import { renderToString } from "react-dom/server";
import { NealyticsDashboard, NealyticsProvider, NealyticsTop } from "nealytics/react";
import "nealytics/embed";

process.stdout.write(
  renderToString(
    <NealyticsProvider src="https://analytics.example.com" getToken={() => ""} range="7d" filters={["item_id:eq:/a"]}>
      <NealyticsDashboard className="mine" syncUrl dev onReady={() => {}}>
        <NealyticsTop dimension="item_id" limit={5} />
      </NealyticsDashboard>
    </NealyticsProvider>,
  ),
);
