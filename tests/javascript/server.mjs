// A service in Express, whose runs are children of the one that the headers name. It ends with its input.

import express from "express";
import { RunTree } from "langsmith";
import { getCurrentRunTree, traceable, withRunTree } from "langsmith/traceable";
import { client, told } from "./runs.mjs";

const app = express();

// LangSmith hands tags down to no child, so each route does.
app.get("/create-child", (request, response) => {
  const parent = RunTree.fromHeaders(request.headers, { client });
  const startTime = Number(request.query.start_time ?? Date.now());
  response.json(told(parent.createChild({ name: "serve", tags: parent.tags, start_time: startTime })));
});

app.get("/traceable", async (request, response) => {
  const parent = RunTree.fromHeaders(request.headers, { client, tracingEnabled: true });
  const serve = traceable(async () => told(getCurrentRunTree()), { name: "serve", tags: parent.tags, client });
  response.json(await withRunTree(parent, () => serve()));
});

const server = app.listen(0, "127.0.0.1", () => console.log(`http://127.0.0.1:${server.address().port}`));

process.stdin.resume().on("end", () => process.exit(0));
