// A certified OpenID provider (the npm package oidc-provider) over TLS on a port of its own, whose keys can be changed.
//
// Usage: node provider.mjs MODULES CERTIFICATE KEY
//
// It prints its issuer name and the secret of its client `billing`. Then it takes commands on standard input, one a line,
// answers each with a line, and ends with its input:
//   rotate    signs with a new key from now on, and publishes the old ones beside it; prints the new key's id
//   withdraw  publishes the key that it signs with, and no other; prints its id
//   counts    prints how often its documents were asked for, as JSON
//   stop      listens no more, and ends its connections
//   start     listens again, on the same port

import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';

const [modules, certificate, privateKey] = process.argv.slice(2);
const { default: Provider } = await import(pathToFileURL(`${modules}/node_modules/oidc-provider/lib/index.js`));

// Standard output is for the answers.
console.info = console.error;

const secret = randomUUID();

const counts = { discovery: 0, jwks: 0 };
const documents = { '/.well-known/openid-configuration': 'discovery', '/jwks': 'jwks' };

function key(type, options, members) {
  const { privateKey: made } = generateKeyPairSync(type, options);
  return { ...made.export({ format: 'jwk' }), kid: randomUUID(), ...members };
}

const signingKey = () => key('ec', { namedCurve: 'P-256' }, { alg: 'ES256', use: 'sig' });

// As a real one has them: a key for other algorithms, and one that is not for signatures at all.
const others = [
  key('rsa', { modulusLength: 2048 }, { alg: 'RS256', use: 'sig' }),
  key('rsa', { modulusLength: 2048 }, { alg: 'RSA-OAEP', use: 'enc' }),
];

let signing = [signingKey()];
let handle;

const server = createServer({ cert: readFileSync(certificate), key: readFileSync(privateKey) }, (request, response) => {
  const document = documents[request.url];
  if (document) counts[document] += 1;
  return handle(request, response);
});

await listen(0);
const { port } = server.address();
const issuer = `https://127.0.0.1:${port}`;
publish();
console.log(issuer, secret);

const commands = {
  rotate() {
    signing = [signingKey(), ...signing];
    publish();
    return signing[0].kid;
  },
  withdraw() {
    signing = signing.slice(0, 1);
    publish();
    return signing[0].kid;
  },
  counts() {
    return JSON.stringify(counts);
  },
  async stop() {
    const closed = new Promise((resolve) => server.close(resolve));
    server.closeAllConnections();
    await closed;
    return 'stopped';
  },
  async start() {
    await listen(port);
    return 'started';
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  console.log(await commands[line]());
}
process.exit(0);

function listen(on) {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(on, '127.0.0.1', resolve);
  });
}

// A provider's keys are fixed when it is made; so new keys mean a new provider behind the same door.
function publish() {
  const provider = new Provider(issuer, {
    clients: [{
      client_id: 'billing',
      client_secret: secret,
      grant_types: ['client_credentials'],
      redirect_uris: [],
      response_types: [],
    }],
    cookies: { keys: [randomUUID()] },
    jwks: { keys: [...signing, ...others] },
    enabledJWA: { idTokenSigningAlgValues: ['ES256', 'RS256'], requestObjectEncryptionAlgValues: ['RSA-OAEP'] },
    extraTokenClaims: () => ({ email: 'billing@example.com', groups: ['machines', 'billing'] }),
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      encryption: { enabled: true },
      requestObjects: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => 'urn:orders',
        getResourceServerInfo: () => ({
          audience: 'orders',
          scope: 'read write',
          accessTokenFormat: 'jwt',
          accessTokenTTL: 600,
          jwt: { sign: { alg: 'ES256' } },
        }),
      },
    },
  });
  handle = provider.callback();
}
