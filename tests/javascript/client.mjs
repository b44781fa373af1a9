// A client that calls a service with the headers of its run, and prints what that run and the answer are.

import { RunTree } from "langsmith";
import { client, told } from "./runs.mjs";

const { address, project, tags, metadata } = JSON.parse(process.argv[2]);

const root = new RunTree({ name: "root", client, project_name: project });
const call = root.createChild({ name: "call", tags, metadata });
const response = await fetch(address, { headers: call.toHeaders() });

console.log(JSON.stringify([told(call), await response.json()]));
