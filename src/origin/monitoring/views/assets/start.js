// Shows the description that stands beside this page. Only a login asks another host: Hydra.
const root = document.getElementById("swagger-ui");
const beside = (name) => new URL(name, document.baseURI).href;

// Puts a GGO of the caller's, the newest, into the examples: they work as they stand.
async function fillExamples(token) {
  const answer = await fetch(beside("ggo"), {
    method: "POST",
    headers: { Authorization: `Bearer ${token}` },
    body: JSON.stringify({ filters: { category: "stored" }, limit: 1, order: ["-begin"] }),
  });
  const [ggo] = answer.ok ? (await answer.json()).results : [];
  if (ggo) {
    const { specActions, specSelectors } = window.ui.getSystem();
    specActions.updateSpec(specSelectors.specStr().replaceAll(root.dataset.exampleAddress, ggo.address));
  }
}

const examplesOfCaller = {
  statePlugins: {
    auth: {
      wrapActions: {
        authorizeOauth2: (proceed) => (payload) => {
          // Without it the examples stay as they are.
          fillExamples(payload.token.access_token).catch(() => {});
          return proceed(payload);
        },
      },
    },
  },
};

window.ui = SwaggerUIBundle({
  url: beside("openapi.json"),
  dom_id: "#swagger-ui",
  deepLinking: true,
  displayRequestDuration: true,
  validatorUrl: null,
  oauth2RedirectUrl: beside("docs/oauth2-redirect.html"),
  plugins: [examplesOfCaller],
  requestInterceptor: (request) => {
    // Hydra allows this header to no page.
    if (new URL(request.url, document.baseURI).origin !== location.origin) {
      delete request.headers["X-Requested-With"];
    }
    return request;
  },
});
if (root.dataset.clientId) {
  window.ui.initOAuth({
    clientId: root.dataset.clientId,
    scopes: ["openid", "profile", "ggo.read", "ggo.transfer", "ggo.retire"],
    usePkceWithAuthorizationCodeGrant: true,
  });
}
