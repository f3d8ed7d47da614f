// A real OpenID provider (npm: oidc-provider) on loopback, at Hydra's paths. Its one argument, JSON:
// {packages: where it is installed, port, clientId, clientSecret, redirectUri}.
// Browsers get the package's own pages to log in (any name and password) and to consent.
// Keys are made, and all is forgotten, at every start.
// `POST /control/clock?ahead=SECONDS` sets its clock that far ahead (negative: back) of the machine's.
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const { packages, port, clientId, clientSecret, redirectUri } = JSON.parse(process.argv[2]);
const location = createRequire(`${packages}/`).resolve('oidc-provider');
const { Provider, errors } = await import(pathToFileURL(location));

const machineNow = Date.now;
let ahead = 0;
Date.now = () => machineNow() + ahead * 1000;

const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
const signingKey = { ...privateKey.export({ format: 'jwk' }), kid: randomUUID(), alg: 'RS256', use: 'sig' };

const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [{
    client_id: clientId,
    client_secret: clientSecret,
    redirect_uris: [redirectUri],
    grant_types: ['authorization_code', 'refresh_token', 'client_credentials'],
    response_types: ['code'],
    token_endpoint_auth_method: 'client_secret_basic',
    id_token_signed_response_alg: 'RS256',
  }],
  routes: {
    authorization: '/oauth2/auth',
    token: '/oauth2/token',
    introspection: '/oauth2/introspect',
    revocation: '/oauth2/revoke',
    jwks: '/.well-known/jwks.json',
  },
  scopes: [
    'openid', 'offline', 'profile', 'email', 'disclosure', 'meteringpoints.read', 'measurements.read',
    'ggo.read', 'ggo.transfer', 'ggo.retire',
  ],
  claims: { openid: ['sub'], profile: ['name'], email: ['email'] },
  pkce: { required: () => true },
  extraParams: {
    nonce(_ctx, nonce) {
      if (!nonce) throw new errors.InvalidRequest('a nonce is required');
    },
  },
  issueRefreshToken: async (_ctx, client, source) => (
    client.grantTypeAllowed('refresh_token') && source.scopes.has('offline')
  ),
  // Not bound to the browser's session at the provider.
  expiresWithSession: async () => false,
  rotateRefreshToken: true,
  features: {
    clientCredentials: { enabled: true },
    introspection: { enabled: true },
    revocation: { enabled: true },
  },
  jwks: { keys: [signingKey] },
  cookies: { keys: [randomUUID()] },
  ttl: {
    AccessToken: 3600, AuthorizationCode: 60, ClientCredentials: 3600, Grant: 86400, IdToken: 3600,
    Interaction: 600, RefreshToken: 86400, Session: 3600,
  },
});

const answer = provider.callback();
createServer((request, response) => {
  const url = new URL(request.url, provider.issuer);
  if (url.pathname !== '/control/clock') return answer(request, response);
  ahead = Number(url.searchParams.get('ahead'));
  return response.end();
}).listen(port, '127.0.0.1', () => console.log('listening'));
