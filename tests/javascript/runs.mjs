// What the client and the server share: a run of LangSmith's, which is sent to nobody, and what it says of itself.

import { Client } from "langsmith";

class KeepingClient extends Client {
  async createRun() {}
  async updateRun() {}
}

export const client = new KeepingClient({ apiUrl: "http://127.0.0.1:9", apiKey: "none", autoBatchTracing: false });

export function told(run) {
  return {
    id: run.id,
    parent_id: run.parent_run?.id ?? null,
    trace_id: run.trace_id,
    dotted_order: run.dotted_order,
    tags: run.tags ?? [],
    metadata: run.metadata,
    project: run.project_name,
    headers: run.toHeaders(),
  };
}
