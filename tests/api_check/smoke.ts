// A client of the service that uses the types that openapi-typescript generates.
// It logs in at Hydra, lists, composes, and reads an error. It prints what it saw as JSON.
import createClient from "openapi-fetch";
import type { components, paths, webhooks } from "./api.ts";

declare const process: { env: Record<string, string | undefined> };

type Schemas = components["schemas"];
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
const holds = <_Claim extends true>(): void => undefined;

// The types say what may be null and what may be absent.
holds<Same<Schemas["Ggo"]["technology"], string | null>>();
holds<Same<Schemas["Ggo"]["emissions"], { [key: string]: number } | null>>();
holds<Same<Schemas["Ggo"]["amount"], number>>();
holds<Same<Schemas["GgoListRequest"]["limit"], number | null | undefined>>();
holds<Same<Schemas["GgoFilters"]["category"], Schemas["Category"] | null | undefined>>();
holds<Same<Schemas["Category"], "issued" | "stored" | "retired" | "expired">>();
holds<Same<Schemas["ForecastResponse"]["forecast"], Schemas["Forecast"] | null>>();
holds<Same<Schemas["Error"]["success"], false>>();
holds<Same<Schemas["Error"]["message"], string | Schemas["FieldErrors"]>>();
type GgoReceived = webhooks["ON_GGO_RECEIVED"]["post"]["requestBody"]["content"]["application/json"];
holds<Same<GgoReceived["ggo"], Schemas["Ggo"]>>();

function variable(name: string): string {
  const value = process.env[name];
  if (value === undefined) throw new Error(`${name} is missing`);
  return value;
}

function check(claim: unknown, told: unknown): asserts claim {
  if (!claim) throw new Error(JSON.stringify(told));
}

const urlSafe = (bytes: Uint8Array): string =>
  btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");

// Logs in by the code flow with PKCE, and returns an access token.
async function token(): Promise<string> {
  const verifier = urlSafe(crypto.getRandomValues(new Uint8Array(48)));
  const state = urlSafe(crypto.getRandomValues(new Uint8Array(16)));
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(verifier));
  const common = { client_id: variable("CLIENT_ID"), redirect_uri: variable("REDIRECT_URI") };
  const query = new URLSearchParams({
    ...common,
    response_type: "code",
    scope: "openid profile ggo.read ggo.transfer ggo.retire",
    state,
    code_challenge: urlSafe(new Uint8Array(digest)),
    code_challenge_method: "S256",
    // The sandbox asks no more then.
    login_hint: variable("SUBJECT"),
  });
  const hydra = variable("HYDRA_URL");
  const redirect = await fetch(`${hydra}/oauth2/auth?${query}`, { redirect: "manual" });
  const back = new URL(redirect.headers.get("Location") ?? "").searchParams;
  check(back.get("state") === state, "The state is another one");
  const body = new URLSearchParams({
    ...common,
    grant_type: "authorization_code",
    code: back.get("code") ?? "",
    code_verifier: verifier,
  });
  const answer = await fetch(`${hydra}/oauth2/token`, { method: "POST", body });
  const tokens = (await answer.json()) as { access_token: string };
  return tokens.access_token;
}

const client = createClient<paths>({
  baseUrl: variable("SERVICE_URL"),
  headers: { Authorization: `Bearer ${await token()}` },
});

const accounts = await client.POST("/accounts");
check(accounts.data?.accounts[0]?.id === variable("SUBJECT"), accounts.error);

const listed = await client.POST("/ggo", {
  body: { filters: { category: "stored" }, order: ["-begin"] },
});
check(listed.data, listed.error);
const [ggo] = listed.data.results;
check(ggo, listed.data);
check(!Number.isNaN(Date.parse(ggo.begin)), ggo);

const part = { amount: 100, account: variable("RECIPIENT"), reference: "wind" };
const done = await client.POST("/ggo/compose", {
  params: { header: { "Idempotency-Key": state() } },
  body: { address: ggo.address, transfers: [part] },
});
check(done.data?.success, done.error);

const total = await client.POST("/ggo/get-total-amount", { body: { filters: { category: "stored" } } });
check(total.data?.amount === ggo.amount - 100, total);
const summary = await client.POST("/ggo/summary", {
  body: { resolution: "all", filters: { category: "stored" } },
});
check(summary.data?.groups[0]?.values[0] === ggo.amount - 100, summary);

// An error has the type of the description's.
const nothing = await client.POST("/ggo/compose", { body: { address: ggo.address } });
const error: Schemas["Error"] | undefined = nothing.error;
check(error?.message === "Nothing to transfer/retire", nothing);
check(nothing.response.status === 400, nothing);
const unknown = await client.POST("/ggo/compose", {
  body: { address: ggo.address, transfers: [{ amount: 1, account: "nobody" }] },
});
const message: string | Schemas["FieldErrors"] | undefined = unknown.error?.message;
check(typeof message === "object" && "transfers" in message, unknown);

const stranger = createClient<paths>({ baseUrl: variable("SERVICE_URL") });
check((await stranger.POST("/accounts")).response.status === 401, "A stranger is let in");

function state(): string {
  return urlSafe(crypto.getRandomValues(new Uint8Array(16)));
}

console.log(JSON.stringify({ stored: ggo.amount }));
