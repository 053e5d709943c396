// A charge point made with the npm package ocpp-rpc, strict. Lines of JSON: calls on stdin, answers and orders on stdout.
const { createRequire } = require("node:module");
const { RPCClient } = createRequire(process.argv[2] + "/")("ocpp-rpc");
const readline = require("node:readline");
const say = (line) => process.stdout.write(JSON.stringify(line) + "\n");

const client = new RPCClient({
  endpoint: process.argv[3],
  identity: "box1",
  protocols: ["ocpp1.6"],
  strictMode: true,
  reconnect: true,
  backoff: { initialDelay: 50, maxDelay: 200 },
});
client.handle(({ method, params }) => {
  say({ order: method, params });
  return method === "GetConfiguration" ? { unknownKey: params.key } : { status: "Accepted" };
});
client.on("strictValidationFailure", ({ error }) => say({ invalid: String(error), details: error.details }));
client.connect().then(() => say({ connected: true }));
readline.createInterface({ input: process.stdin }).on("line", async (line) => {
  const { method, params } = JSON.parse(line);
  try {
    say({ answer: await client.call(method, params) });
  } catch (error) {
    say({ error: String(error), details: error.details });
  }
});
