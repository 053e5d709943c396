// A CSMS made with the npm package ocpp-rpc, strict: what breaks the 1.6 schemas is refused. Lines of JSON on stdout.
const { createRequire } = require("node:module");
const { RPCServer } = createRequire(process.argv[2] + "/")("ocpp-rpc");
const port = Number(process.argv[3] || 0);
const say = (line) => process.stdout.write(JSON.stringify(line) + "\n");

const server = new RPCServer({ protocols: ["ocpp1.6"], strictMode: true });
let transaction = 4000;
server.on("client", (client) => {
  const answers = {
    BootNotification: () => ({ status: "Accepted", interval: 300, currentTime: new Date().toISOString() }),
    Heartbeat: () => ({ currentTime: new Date().toISOString() }),
    Authorize: () => ({ idTagInfo: { status: "Accepted" } }),
    StartTransaction: () => ({ idTagInfo: { status: "Accepted" }, transactionId: ++transaction }),
    StopTransaction: () => ({}),
    MeterValues: () => ({}),
    StatusNotification: () => ({}),
  };
  for (const [method, answer] of Object.entries(answers)) {
    client.handle(method, async ({ params }) => {
      say({ method, params });
      if (method === "StartTransaction" && params.meterStart === 777) {
        setTimeout(async () => {
          const asked = { connectorId: 1, duration: 600 };
          say({ composite: await client.call("GetCompositeSchedule", asked) });
          say({ stopped: await client.call("RemoteStopTransaction", { transactionId: transaction }) });
        }, 50);
      }
      return answer();
    });
  }
  client.on("strictValidationFailure", ({ error }) => say({ invalid: String(error), details: error.details }));
});
server.listen(port, "127.0.0.1").then((http) => say({ port: http.address().port }));
