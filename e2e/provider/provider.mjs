// A real OpenID Provider for the tests, over HTTPS: `node provider.mjs CONFIG.json`.
//
// Anyone named in the configuration signs in by name alone, on a plain HTML form, and consent is
// granted without a question. State lives in memory and ends with the process. It prints
// `ready ISSUER` on stdout once it answers, and logs to stderr.
//
// The configuration, all but `admin`, `ttl` and `accounts` required:
//
//   listen    "ADDRESS:PORT" of the provider
//   admin     "ADDRESS:PORT" of the tests' own door, plain HTTP, on loopback
//   issuer    the issuer's URL, https and without a path
//   tls       {cert, key}: paths of PEM files
//   clients   client metadata as of OpenID Connect Dynamic Client Registration: client_id,
//             client_secret, redirect_uris, post_logout_redirect_uris …
//   accounts  [{login, email, email_verified, name, groups}]; `login` is also the subject
//   ttl       {AccessToken, IdToken, RefreshToken, Session …} in seconds
//
// The tests' own door:
//
//   GET  /counts  {grant type: {outcome: number}}, where an outcome is "success" or an error code; "held" has the number of
//                 requests that were held back
//   GET  /issued  every token that the token endpoint has given out
//   GET  /reused  [{account, first}]: every refresh token that was used twice, with the time of its first use in
//                 milliseconds
//   POST /delay   {ms, before}: holds back each later answer of the token endpoint for so long; with `before` each
//                 request, which is dropped if its client has gone meanwhile
//   POST /fail    {endpoint, status}: answers each later request to the endpoint ("discovery",
//                 "jwks", "authorization", "token", "userinfo", "end_session") with that status
//                 and nothing else; status 0 ends it

import { createPrivateKey, generateKeyPairSync, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';

import { Provider } from 'oidc-provider';
import MemoryAdapter from 'oidc-provider/lib/adapters/memory_adapter.js';
import LRU from 'oidc-provider/lib/helpers/lru.js';

// The library writes its notices with console.info, that is to stdout.
console.info = console.error;

const ENDPOINTS = {
  discovery: '/.well-known/openid-configuration',
  jwks: '/jwks',
  authorization: '/auth',
  token: '/token',
  userinfo: '/me',
  end_session: '/session/end',
};

const TTL = {
  AccessToken: 300,
  AuthorizationCode: 60,
  Grant: 86_400,
  IdToken: 300,
  Interaction: 600,
  RefreshToken: 3_600,
  Session: 3_600,
};

const config = readConfig(process.argv.slice(2));
const accounts = new Map((config.accounts ?? []).map((account) => [account.login, account]));
const counts = {};
const issued = [];
const uses = new Map();
const reused = [];
const failures = new Map();
let delay = { ms: 0, before: false };

const provider = createProvider();
const answer = provider.callback();
await checkClients();

await listen(https.createServer(tlsOptions(), guarded(serve)), config.listen);
if (config.admin) {
  await listen(http.createServer(guarded(administer)), config.admin);
}
console.log(`ready ${config.issuer}`);

function fail(message) {
  console.error(`provider: ${message}`);
  process.exit(1);
}

function readConfig(args) {
  if (args.length !== 1) fail('takes one argument, the path of its configuration');
  let read;
  try {
    read = JSON.parse(readFileSync(args[0], 'utf8'));
  } catch (error) {
    fail(`cannot read the configuration: ${error.message}`);
  }
  for (const name of ['listen', 'issuer', 'tls', 'clients']) {
    if (read[name] === undefined) fail(`the configuration lacks "${name}"`);
  }
  const issuer = URL.canParse(read.issuer) && new URL(read.issuer);
  if (issuer.protocol !== 'https:' || issuer.origin !== read.issuer) {
    fail(`the issuer must be an https URL without a path, not ${read.issuer}`);
  }
  return read;
}

function tlsOptions() {
  try {
    return { cert: readFileSync(config.tls.cert), key: readFileSync(config.tls.key) };
  } catch (error) {
    return fail(`cannot read the certificate: ${error.message}`);
  }
}

function listen(server, address) {
  if (!URL.canParse(`http://${address}`)) fail(`${address} is not ADDRESS:PORT`);
  const { hostname, port } = new URL(`http://${address}`);
  return new Promise((resolve) => {
    server.on('error', (error) => fail(`cannot listen on ${address}: ${error.message}`));
    server.listen({ host: hostname.replace(/^\[|\]$/g, ''), port: Number(port || 80) }, resolve);
  });
}

// ── the provider ──

function createProvider() {
  const storage = new LRU({ maxSize: 1_000_000 });
  const created = new Provider(config.issuer, {
    adapter: (model) => new MemoryAdapter(model, storage),
    clients: config.clients,
    claims: {
      openid: ['sub'],
      email: ['email', 'email_verified'],
      profile: ['name', 'preferred_username'],
      groups: ['groups'],
    },
    // Claims of the granted scopes stand in the ID token too, not at the userinfo endpoint only.
    conformIdTokenClaims: false,
    cookies: { keys: [randomBytes(32).toString('base64url')] },
    features: {
      devInteractions: { enabled: false },
      rpInitiatedLogout: { enabled: true, logoutSource, postLogoutSuccessSource },
    },
    findAccount: (_ctx, sub) => findAccount(sub),
    interactions: { url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
    issueRefreshToken: (_ctx, client) => client.grantTypeAllowed('refresh_token'),
    jwks: { keys: [signingKey('rsa', { modulusLength: 2048 }), signingKey('ec', { namedCurve: 'P-256' })] },
    loadExistingGrant: grantAll,
    renderError,
    // A refresh token that is used a second time ends its whole grant.
    rotateRefreshToken: true,
    scopes: ['openid', 'email', 'profile', 'groups', 'offline_access'],
    ttl: { ...TTL, ...config.ttl },
  });
  created.use(watchTokenEndpoint);
  created.on('server_error', (_ctx, error) => console.error('provider:', error));
  return created;
}

// The library looks at a client's metadata when the client first calls; a mistake shows here instead.
async function checkClients() {
  for (const { client_id: id } of config.clients) {
    try {
      await provider.Client.find(id);
    } catch (error) {
      fail(`client ${id}: ${error.error_description ?? error.message}`);
    }
  }
}

// A key object that a key generation gave shares a lock with it, and to export that object may collect the generation as
// garbage, which then waits for itself. So the key is written as PEM by the generation, and read from that.
function signingKey(type, options) {
  const encoding = { type: 'pkcs8', format: 'pem' };
  const { privateKey } = generateKeyPairSync(type, { ...options, privateKeyEncoding: encoding });
  const kid = randomBytes(8).toString('hex');
  return { ...createPrivateKey(privateKey).export({ format: 'jwk' }), use: 'sig', kid };
}

function findAccount(sub) {
  const account = accounts.get(sub);
  if (!account) return undefined;
  const { login, ...claims } = account;
  return { accountId: sub, claims: () => ({ sub, preferred_username: login, ...claims }) };
}

async function grantAll(ctx) {
  const { client, session, requestParamOIDCScopes } = ctx.oidc;
  const known = session.grantIdFor(client.clientId);
  const grant = (known && (await provider.Grant.find(known)))
    || new provider.Grant({ accountId: session.accountId, clientId: client.clientId });
  grant.addOIDCScope([...requestParamOIDCScopes].join(' '));
  await grant.save();
  return grant;
}

async function watchTokenEndpoint(ctx, next) {
  await next();
  if (ctx.oidc?.route !== 'token') return;
  count(ctx.oidc.params?.grant_type, ctx.status === 200 ? 'success' : ctx.body?.error);
  for (const name of ['access_token', 'refresh_token', 'id_token']) {
    if (ctx.body?.[name]) issued.push(ctx.body[name]);
  }
  const { RotatedRefreshToken: rotated, RefreshToken: token } = ctx.oidc.entities;
  if (rotated) uses.set(rotated.jti, Date.now());
  if (ctx.body?.error && token?.consumed) reused.push({ account: token.accountId, first: uses.get(token.jti) });
  if (!delay.before && delay.ms > 0) await sleep(delay.ms);
}

function count(grantType = 'none', outcome = 'none') {
  counts[grantType] ??= {};
  counts[grantType][outcome] = (counts[grantType][outcome] ?? 0) + 1;
}

// ── what the provider's port answers ──

function guarded(handle) {
  return (req, res) => {
    res.on('close', () => console.error(`provider: ${req.method} ${req.url.split('?')[0]} ${res.statusCode}`));
    handle(req, res).catch((error) => {
      console.error('provider:', error);
      if (!res.headersSent) reply(res, 500, 'text/plain', 'internal error\n');
    });
  };
}

async function serve(req, res) {
  const { pathname } = new URL(req.url, config.issuer);
  const status = failures.get(pathname);
  if (status) {
    await failed(req, res, pathname, status);
  } else if (pathname === ENDPOINTS.token && delay.before) {
    count('held');
    await sleep(delay.ms);
    if (!req.socket.destroyed) await answer(req, res);
  } else if (pathname.startsWith('/interaction/')) {
    await interact(req, res);
  } else {
    await answer(req, res);
  }
}

async function failed(req, res, pathname, status) {
  const form = new URLSearchParams(await text(req));
  if (pathname === ENDPOINTS.token) count(form.get('grant_type') ?? undefined, `status ${status}`);
  reply(res, status, 'text/plain', 'made to fail\n');
}

async function interact(req, res) {
  let prompt;
  try {
    ({ prompt } = await provider.interactionDetails(req, res));
  } catch {
    reply(res, 400, 'text/html', page('Sign-in expired', '<p>Start again where you came from.</p>'));
    return;
  }
  if (prompt.name === 'consent') {
    await provider.interactionFinished(req, res, { consent: {} }, { mergeWithLastSubmission: true });
  } else if (req.method === 'POST') {
    await signIn(req, res);
  } else {
    reply(res, 200, 'text/html', loginPage());
  }
}

async function signIn(req, res) {
  const form = new URLSearchParams(await text(req));
  const login = form.get('login') ?? '';
  if (form.has('cancel')) {
    const result = { error: 'access_denied', error_description: 'the sign-in was cancelled' };
    await provider.interactionFinished(req, res, result, { mergeWithLastSubmission: false });
  } else if (accounts.has(login)) {
    const result = { login: { accountId: login } };
    await provider.interactionFinished(req, res, result, { mergeWithLastSubmission: false });
  } else {
    reply(res, 401, 'text/html', loginPage(`<p role="alert">Nobody here is called ${escaped(login)}.</p>`));
  }
}

// ── pages ──

function reply(res, status, type, body) {
  res.writeHead(status, {
    'content-type': `${type}; charset=utf-8`,
    'content-length': Buffer.byteLength(body),
    'cache-control': 'no-store',
  });
  res.end(body);
}

function escaped(value) {
  return value.replace(/[&<>"']/g, (char) => `&#${char.charCodeAt(0)};`);
}

function page(title, body) {
  return `<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>${title}</title></head>
<body><main><h1>${title}</h1>
${body}
</main></body>
</html>
`;
}

function loginPage(notice = '') {
  return page('Sign in', `${notice}
<form method="post">
<label>Name <input name="login" autocomplete="username" autofocus></label>
<button type="submit">Sign in</button>
<button type="submit" name="cancel" value="yes">Cancel</button>
</form>`);
}

function logoutSource(ctx, form) {
  ctx.body = page('Sign out', `${form}
<button type="submit" form="op.logoutForm" name="logout" value="yes">Sign out</button>
<button type="submit" form="op.logoutForm">Stay signed in</button>`);
}

function postLogoutSuccessSource(ctx) {
  ctx.body = page('Signed out', '<p>You are signed out.</p>');
}

function renderError(ctx, out) {
  const lines = Object.entries(out).map(([name, value]) => `<dt>${escaped(name)}</dt><dd>${escaped(String(value))}</dd>`);
  ctx.type = 'html';
  ctx.body = page('Sign-in failed', `<dl>${lines.join('\n')}</dl>`);
}

// ── the tests' own door ──

async function administer(req, res) {
  const route = `${req.method} ${req.url}`;
  const told = { 'GET /counts': counts, 'GET /issued': issued, 'GET /reused': reused }[route];
  if (told) {
    reply(res, 200, 'application/json', `${JSON.stringify(told)}\n`);
    return;
  }
  const command = { 'POST /delay': setDelay, 'POST /fail': setFailure }[route];
  if (!command) {
    reply(res, 404, 'text/plain', 'there are GET /counts, GET /issued, GET /reused, POST /delay and POST /fail\n');
    return;
  }
  try {
    command(JSON.parse(await text(req)));
    reply(res, 200, 'text/plain', 'done\n');
  } catch (error) {
    reply(res, 400, 'text/plain', `${error.message}\n`);
  }
}

function setDelay({ ms, before = false }) {
  if (!Number.isInteger(ms) || ms < 0) throw new Error('"ms" must be a whole number, 0 or more');
  delay = { ms, before };
}

function setFailure({ endpoint, status }) {
  if (!Object.hasOwn(ENDPOINTS, endpoint)) {
    throw new Error(`"endpoint" must be one of ${Object.keys(ENDPOINTS).join(', ')}`);
  }
  if (status !== 0 && !(Number.isInteger(status) && status >= 200 && status <= 599)) {
    throw new Error('"status" must be 0 or from 200 to 599');
  }
  failures.set(ENDPOINTS[endpoint], status);
}
