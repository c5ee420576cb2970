// Reads one entity's features without a library: node read_features.js redis://127.0.0.1:6379/0 features:flights:airport:JFK
// With node-redis, close the client when you are done, or Node never ends:
//   const client = await createClient({ url }).connect(); const text = await client.get(key); await client.close();
const { hostname, port } = new URL(process.argv[2]), key = process.argv[3];
const socket = require("net").connect(port, hostname, () => socket.write(`*2\r\n$3\r\nGET\r\n$${Buffer.byteLength(key)}\r\n${key}\r\n`));
socket.on("data", (reply) => {
  socket.end(); // the same here: an open socket keeps the process alive
  const text = reply.toString().split("\r\n")[1], document = text && JSON.parse(text); // no text: no such entity
  if (!document) return console.log("no such entity");
  const { values, until } = document;
  console.log(Object.entries(values).map(([name, value]) => `${name}=${value}`).join(" "), `stale=${until !== null && Date.now() >= until}`);
});
