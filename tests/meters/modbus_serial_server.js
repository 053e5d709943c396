// A Modbus TCP server of the npm package modbus-serial: holding registers of a Schneider iEM3155 as unit 1.
const ServerTCP = require(process.argv[2] + "/node_modules/modbus-serial/servers/servertcp");
const image = new Map();
const put = (address, buffer) => {
  for (let i = 0; i < buffer.length; i += 2) image.set(address + i / 2, buffer.readUInt16BE(i));
};
const f32 = (...values) => {
  const buffer = Buffer.alloc(4 * values.length);
  values.forEach((value, i) => buffer.writeFloatBE(value, 4 * i));
  return buffer;
};
const energy = Buffer.alloc(16);
energy.writeBigInt64BE(9876543210n, 0);
energy.writeBigInt64BE(12n, 8);
const serial = Buffer.alloc(4);
serial.writeUInt32BE(17223344, 0);
put(129, serial);
put(2999, f32(10.5, 2.25, 0.5));
put(3053, f32(2.4004, -0.5006, 0.1, 1.9998));
put(3109, f32(50.0));
put(3203, energy);
const vector = { getHoldingRegister: (address) => image.get(address) || 0 };
const server = new ServerTCP(vector, { host: "127.0.0.1", port: 0, unitID: 1 });
server.on("initialized", () => console.log(server._server.address().port));
server.on("socketError", () => {});
