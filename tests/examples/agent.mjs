// An agent in JavaScript: `node tests/examples/agent.mjs`, beside a daemon.

import { Client, Refused, executionId } from "./client.mjs";

const client = new Client();

async function recorded(taskId, toolName, work) {
  const started = performance.now();
  await client.call("start_execution", { task_id: taskId, agent_id: "node", tool_name: toolName });
  let errorType = null;
  try {
    return await work();
  } catch (error) {
    errorType = error.constructor.name;
    throw error;
  } finally {
    await client.call("record_execution", {
      execution_id: executionId(),
      task_id: taskId,
      agent_id: "node",
      tool_name: toolName,
      duration_seconds: (performance.now() - started) / 1000,
      success: errorType === null,
      finished_at: Date.now() / 1000,
      error_type: errorType,
    });
  }
}

// Side by side, over one connection.
await Promise.all(
  ["a", "b", "c"].map((name) => recorded(`page-${name}`, "fetch", async () => name.repeat(3))),
);
await recorded("page-d", "parse", async () => JSON.parse("{")).catch((error) =>
  console.log("as expected:", error.constructor.name),
);

// A batch that is sent twice counts once.
const executions = Array.from({ length: 100 }, (_, number) => ({
  execution_id: executionId(),
  task_id: `bulk-${number}`,
  agent_id: "node",
  tool_name: "bulk",
  duration_seconds: 0.01,
  success: true,
}));
for (let round = 0; round < 2; round++) {
  const { accepted, duplicates } = await client.call("record_executions", { executions });
  console.log(`accepted ${accepted}, duplicates ${duplicates}`);
}

try {
  await client.call("get_executions", { limit: 0 });
} catch (error) {
  if (!(error instanceof Refused)) throw error;
  console.log(error.code, error.data.path);
}

const { last_24_hours: day } = await client.call("get_task_pipeline");
console.log(`${day.total_tasks} tasks, ${day.failed_tasks} failed`);
client.close();
