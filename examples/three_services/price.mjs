// The third service: it returns a price. LangSmith's own SDK traces it.

import { createServer } from "node:http";
import { RunTree } from "langsmith";

const server = createServer((request, response) => {
  const parent = RunTree.fromHeaders(request.headers);
  const run = parent.createChild({ name: "price (JavaScript)" });
  response.end("3");
  // A real service would post the run to LangSmith; here the first service reads the lines that the others print.
  console.log(JSON.stringify({ id: run.id, parent_id: run.parent_run.id, name: run.name, tags: parent.tags ?? [] }));
});

server.listen(0, "127.0.0.1", () => console.log(`http://127.0.0.1:${server.address().port}`));

process.stdin.resume().on("end", () => process.exit(0));
