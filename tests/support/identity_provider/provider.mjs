// An OpenID provider on this machine, for as long as somebody holds its standard input open.
//
//   node provider.mjs <folder with node_modules>
//   <- {"clients": [{"id": ..., "secret": ..., "name": ..., "roles": [...]}]}
//   -> {"issuer": "http://127.0.0.1:41234"}
//   <- "rotate"        new keys sign, the former ones are still published     -> {"published": 6}
//   <- "withdraw"      only the newest keys are published                     -> {"published": 3}
//
// A client stands for a person: its client-credentials token carries that person's roles. The resource
// urn:resource:<audience>:<algorithm>:<seconds> says for whom the token is, how it is signed and how long it lives.

import * as crypto from "node:crypto";
import * as http from "node:http";
import { createRequire } from "node:module";
import * as readline from "node:readline";
import { pathToFileURL } from "node:url";

// The provider's hints are no part of the conversation on standard output.
console.info = console.log = console.error;

const require = createRequire(pathToFileURL(`${process.argv[2]}/`));
const { Provider, errors } = await import(pathToFileURL(require.resolve("oidc-provider")));

function newKeys() {
  const pairs = [
    crypto.generateKeyPairSync("rsa", { modulusLength: 2048 }),
    crypto.generateKeyPairSync("ec", { namedCurve: "P-256" }),
    crypto.generateKeyPairSync("ed25519"),
  ];
  return pairs.map(({ privateKey }) => privateKey.export({ format: "jwk" }));
}

function makeProvider(issuer, clients, keys) {
  const people = new Map(clients.map((client) => [client.id, client]));
  return new Provider(issuer, {
    clients: clients.map(({ id, secret }) => ({
      client_id: id,
      client_secret: secret,
      grant_types: ["client_credentials"],
      redirect_uris: [],
      response_types: [],
    })),
    jwks: { keys },
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo(_, resource) {
          const [, audience, algorithm, seconds] = /^urn:resource:([^:]+):([^:]+):([0-9]+)$/.exec(resource) ?? [];
          if (!audience) throw new errors.InvalidTarget();
          const jwt = { sign: { alg: algorithm } };
          return { audience, scope: "", accessTokenFormat: "jwt", accessTokenTTL: Number(seconds), jwt };
        },
      },
    },
    extraTokenClaims(_, token) {
      const { name, roles } = people.get(token.clientId);
      return { name, realm_access: { roles } };
    },
  });
}

const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const { clients } = JSON.parse((await lines.next()).value);
const server = http.createServer((request, response) => handle(request, response));
await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
const issuer = `http://127.0.0.1:${server.address().port}`;

let newest = newKeys();
let handle = makeProvider(issuer, clients, newest).callback();
const say = (answer) => process.stdout.write(`${JSON.stringify(answer)}\n`);
say({ issuer });

for await (const line of lines) {
  const former = newest;
  if (line === "rotate") newest = newKeys();
  const published = line === "rotate" ? [...newest, ...former] : newest;
  handle = makeProvider(issuer, clients, published).callback();
  say({ published: published.length });
}
process.exit(0);
