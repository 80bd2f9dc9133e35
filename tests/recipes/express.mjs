// An application with sessions, around the endpoint of docs/embedding.md.
import express from "express";

const app = express();
const tenants = { "session-acme": "acme", "session-globex": "globex", "session-lost": null };

function requireUser(req, res, next) {
  const session = /(?:^|; )session=([^;]+)/.exec(req.headers.cookie ?? "")?.[1];
  if (!(session in tenants)) return res.sendStatus(401);
  req.user = { tenantId: tenants[session] ?? undefined };
  next();
}

app.get("/", (req, res) => res.sendFile(process.env.PAGE));

// RECIPE

app.listen(Number(process.env.PORT), "127.0.0.1");
