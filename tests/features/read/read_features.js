// Reads one entity's features without a library: node read_features.js redis://127.0.0.1:6379/0 features:flights:airport:JFK
const { hostname, port } = new URL(process.argv[2]), key = process.argv[3];
const socket = require("net").connect(port, hostname, () => socket.write(`*2\r\n$3\r\nGET\r\n$${key.length}\r\n${key}\r\n`));
socket.on("data", (reply) => { // with a client library: const { values, until } = JSON.parse(await client.get(key))
  const { values, until } = JSON.parse(reply.toString().split("\r\n")[1]);
  console.log(Object.entries(values).map(([name, value]) => `${name}=${value}`).join(" "), `stale=${until !== null && Date.now() >= until}`);
  socket.end();
});
