// Sends events with the SDKs for Node.js:  node node.cjs segment|rudder|posthog
//
// A line of standard input is a run: {"case", "url", "key", "events": [{"n", "timestamp"}]}. All runs are in this process, at
// the same time; after the last line, it ends when each SDK has sent what it has. It prints "done CASE" after each run.

const readline = require("node:readline")

const senders = {
  async segment({ url, key, events }) {
    const { Analytics } = require("@segment/analytics-node")
    const analytics = new Analytics({ writeKey: key, host: url, maxRetries: 10, flushAt: events.length })
    analytics.on("error", (error) => console.error(error))
    for (const { n, timestamp } of events)
      analytics.track({ userId: "ada", event: "paid", properties: { n }, timestamp: timestamp ? new Date(timestamp) : undefined })
    await analytics.closeAndFlush({ timeout: 60_000 })
  },

  async rudder({ url, key, events }) {
    const Analytics = require("@rudderstack/rudder-sdk-node")
    const analytics = new Analytics(key, { dataPlaneUrl: url, flushAt: events.length, flushInterval: 200, retryCount: 10 })
    analytics.flushed = true // the first event would be sent alone
    const sent = events.map(
      ({ n, timestamp }) =>
        new Promise((resolve, reject) =>
          analytics.track(
            { userId: "ada", event: "paid", properties: { n }, ...(timestamp && { originalTimestamp: new Date(timestamp) }) },
            (error) => (error ? reject(error) : resolve()),
          ),
        ),
    )
    await Promise.all(sent)
  },

  async posthog({ url, key, events }) {
    const { PostHog } = require("posthog-node")
    const posthog = new PostHog(key, { host: url, flushAt: events.length, fetchRetryCount: 10, fetchRetryDelay: 500 })
    for (const { n, timestamp } of events)
      posthog.capture({ distinctId: "ada", event: "paid", properties: { n }, timestamp: timestamp ? new Date(timestamp) : undefined })
    await posthog.shutdown(60_000)
  },
}

const send = senders[process.argv[2]]
const runs = []
readline
  .createInterface({ input: process.stdin })
  .on("line", (line) => {
    const run = JSON.parse(line)
    runs.push(send(run).then(() => console.log(`done ${run.case}`)))
  })
  .on("close", () => Promise.all(runs))
