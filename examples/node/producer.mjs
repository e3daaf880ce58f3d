// Makes an integration, tests it, creates a ticket, and prints the result: everything by commands.
//
//   npm install amqplib
//   export AMQP_URL=amqp://guest:guest@127.0.0.1:5672/%2f ORGANIZATION=6f9619ff-8b86-d011-b42d-00c04fc964ff
//   node producer.mjs https://example.atlassian.net bot@example.org API_TOKEN SUP
import { randomUUID } from "node:crypto";
import amqp from "amqplib";

const prefix = process.env.TICKETWIRE_PREFIX ?? "ticketwire";
const [baseUrl, email, apiToken, project] = process.argv.slice(2);

const connection = await amqp.connect(process.env.AMQP_URL);
const channel = await connection.createConfirmChannel();
const waiting = new Map();
// Direct reply-to: no queue to declare; the answers come to this channel.
await channel.consume("amq.rabbitmq.reply-to", (answer) => {
  waiting.get(answer.properties.correlationId)?.(JSON.parse(answer.content));
}, { noAck: true });

async function call(type, data) {
  const id = randomUUID(); // the idempotency key: a repeat goes out under the same id
  const command = {
    specversion: "1.0", id, source: "/examples/node", type, organizationid: process.env.ORGANIZATION, data,
  };
  const answer = new Promise((resolve, reject) => {
    waiting.set(id, resolve);
    setTimeout(() => reject(new Error(`no answer to ${type} within a minute; the command ${id} goes on`)), 60_000).unref();
  });
  channel.publish(`${prefix}.commands`, type, Buffer.from(JSON.stringify(command)), {
    contentType: "application/cloudevents+json", persistent: true, mandatory: true,
    replyTo: "amq.rabbitmq.reply-to", correlationId: id,
  });
  await channel.waitForConfirms(); // the broker has it
  const event = await answer;
  waiting.delete(id);
  if (event.data.outcome !== "succeeded") throw new Error(`${type}: ${JSON.stringify(event.data.error)}`);
  return event.data.result;
}

const made = await call("integration.create", {
  name: "Support desk", platform_name: "jira", base_url: baseUrl,
  credentials: { email, api_token: apiToken }, settings: { project_key: project },
});
const tested = await call("integration.test", { integration_id: made.integration_id });
if (!tested.success) throw new Error(`the integration does not work: ${JSON.stringify(tested.tests)}`);
const ticket = await call("ticket.create", {
  title: "Login page returns 500", description: "Since the **last deploy**.", category: "bug", priority: "high",
  integration_id: made.integration_id,
});
console.log(JSON.stringify(ticket));
await connection.close();
