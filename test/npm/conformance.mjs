// Drives the portal emulator with Esri's own clients, unchanged. The world to work in comes as JSON in the variable
// WORLD; each step that went as the client's documentation says is printed as one line, and the first that does not ends
// the run with exit code 1.
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import {
  ApiKeyManager,
  ApplicationCredentialsManager,
  ArcGISIdentityManager,
  ArcGISRequestError,
  fetchToken,
  request,
  revokeToken,
} from "@esri/arcgis-rest-request";
import {
  SearchQueryBuilder,
  createFolder,
  createItem,
  createItemInFolder,
  getItem,
  getItemData,
  getPortal,
  getSelf,
  getUser,
  getUserContent,
  moveItem,
  protectItem,
  removeItem,
  searchItems,
  unprotectItem,
  updateItem,
} from "@esri/arcgis-rest-portal";

const world = JSON.parse(process.env.WORLD);
const { portal, username, password } = world;

async function step(name, run) {
  const value = await run();
  console.log(`ok ${name}`);
  return value;
}

const refusal = (code, message) => (err) => {
  assert.ok(err instanceof ArcGISRequestError || err.name?.startsWith("ArcGIS"), `unexpected ${err}`);
  assert.match(`${err.code} ${err.message}`, new RegExp(`${code}.*${message}`));
  return true;
};

const authentication = await step("signIn", () => ArcGISIdentityManager.signIn({ username, password, portal }));

await step("signIn with a wrong password", () =>
  assert.rejects(
    ArcGISIdentityManager.signIn({ username, password: "wrong", portal }),
    (err) => /Unable to generate token/.test(err.message),
  ));

await step("getUser", async () => {
  const user = await getUser({ authentication, portal });
  assert.equal(user.username, username);
  assert.ok(user.privileges.includes("portal:user:createItem"));
  assert.equal(await authentication.getUsername(), username);
});

await step("getSelf and getPortal", async () => {
  const self = await getSelf({ authentication, portal });
  assert.equal(self.user.username, username);
  const org = await getPortal(self.id, { authentication, portal });
  assert.equal(org.id, self.id);
  const anonymous = await getSelf({ portal });
  assert.equal(anonymous.user, undefined);
});

const folder = await step("createFolder", async () => {
  const made = await createFolder({ title: "conformance", authentication, portal });
  assert.ok(made.success);
  return made.folder.id;
});

const id = await step("createItem", async () => {
  const made = await createItem({
    item: {
      title: "Conformance map",
      type: "Web Map",
      tags: ["one", "two"],
      snippet: "short",
      properties: { key: "somevalue" },
      text: { version: "2.0" },
    },
    authentication,
    portal,
  });
  assert.ok(made.success);
  assert.match(made.id, /^[0-9a-f]{32}$/);
  return made.id;
});

await step("createItem without a title is refused", () =>
  assert.rejects(createItem({ item: { type: "Web Map" }, authentication, portal }), refusal(400, "'type' and 'title'")));

await step("getItem and getItemData", async () => {
  const item = await getItem(id, { authentication, portal });
  assert.equal(item.title, "Conformance map");
  assert.equal(item.owner, username);
  assert.deepEqual(item.tags, ["one", "two"]);
  assert.deepEqual(item.properties, { key: "somevalue" });
  assert.equal(item.access, "private");
  assert.deepEqual(await getItemData(id, { authentication, portal }), { version: "2.0" });
});

await step("getItem without a token is refused", () => assert.rejects(getItem(id, { portal }), refusal("GWM_0003", "Token Required")));

await step("updateItem", async () => {
  const done = await updateItem({ item: { id, snippet: "longer text", tags: ["one"] }, authentication, portal });
  assert.ok(done.success);
  const item = await getItem(id, { authentication, portal });
  assert.equal(item.snippet, "longer text");
  assert.deepEqual(item.tags, ["one"]);
  assert.equal(item.title, "Conformance map");
});

await step("moveItem and getUserContent", async () => {
  const moved = await moveItem({ itemId: id, folderId: folder, authentication, portal });
  assert.ok(moved.success);
  const inside = await getUserContent({ owner: username, folderId: folder, authentication, portal });
  assert.deepEqual(inside.items.map((i) => i.id), [id]);
  const root = await getUserContent({ owner: username, authentication, portal, num: 100 });
  assert.ok(!root.items.some((i) => i.id === id));
  assert.ok(root.folders.some((f) => f.id === folder));
});

await step("searchItems pages through everything once", async () => {
  const made = [];
  for (let i = 0; i < 7; i++) {
    const item = { title: `Paged ${i}`, type: "Feature Collection", tags: "paged" };
    made.push((await createItemInFolder({ item, folderId: folder, authentication, portal })).id);
  }
  const seen = [];
  let page = await searchItems({ q: `tags:paged AND owner:${username}`, num: 3, sortField: "title", authentication, portal });
  assert.equal(page.total, 7);
  for (;;) {
    seen.push(...page.results.map((r) => r.id));
    if (!page.nextPage) break;
    page = await page.nextPage();
  }
  assert.deepEqual(seen, made);
  for (const one of made) assert.ok((await removeItem({ id: one, authentication, portal })).success);
});

await step("searchItems with the query builder", async () => {
  const q = new SearchQueryBuilder().match(username).in("owner").and().startGroup().match("Web Map").in("type").or()
    .match("Application").in("type").endGroup().and().match("Conformance map").in("title");
  const found = await searchItems({ q, authentication, portal });
  assert.deepEqual(found.results.map((r) => r.id), [id]);
});

await step("protectItem keeps an item from removeItem", async () => {
  assert.ok((await protectItem({ id, authentication, portal })).success);
  await assert.rejects(removeItem({ id, authentication, portal }), (err) => err instanceof ArcGISRequestError);
  assert.ok((await unprotectItem({ id, authentication, portal })).success);
});

await step("removeItem", async () => {
  const gone = await removeItem({ id, authentication, portal });
  assert.deepEqual({ success: gone.success, itemId: gone.itemId }, { success: true, itemId: id });
  await assert.rejects(getItem(id, { authentication, portal }), refusal("CONT_0001", "does not exist or is inaccessible"));
});

const credential = await step("an API key credential by request()", async () => {
  const me = `${portal}/content/users/${username}`;
  const made = await createItem({ item: { title: "Conformance key", type: "Application" }, authentication, portal });
  await request(`${portal}/oauth2/registerApp`, {
    authentication,
    params: {
      itemId: made.id,
      appType: "multiple",
      redirect_uris: JSON.stringify(["urn:ietf:wg:oauth:2.0:oob"]),
      httpReferrers: JSON.stringify([]),
      privileges: JSON.stringify(["portal:user:createItem", "portal:admin:viewItems"]),
    },
  });
  const expiry = new Date(Date.now() + 30 * 86_400_000);
  const dated = { id: made.id, apiToken1ExpirationDate: expiry, apiToken2ExpirationDate: -1 };
  await request(`${me}/items/${made.id}/update`, { authentication, params: dated });
  const app = await request(`${me}/items/${made.id}/registeredAppInfo`, { authentication });
  const key = await request(`${portal}/oauth2/token`, {
    params: {
      client_id: app.client_id,
      client_secret: app.client_secret,
      apiToken: 1,
      regenerateApiToken: true,
      grant_type: "client_credentials",
    },
  });
  assert.equal(key.access_token.slice(-12), `AT1_${app.client_id.slice(-8)}`);
  assert.ok(key.expires_in > 29 * 86_400);
  return { app, key: key.access_token, id: made.id };
});

await step("ApiKeyManager", async () => {
  const manager = await ApiKeyManager.fromKey(credential.key);
  manager.portal = portal;
  assert.equal(await manager.getUsername(), username);
  const self = await getSelf({ authentication: manager, portal });
  assert.equal(self.appInfo.appId, credential.app.client_id);
});

await step("ApplicationCredentialsManager", async () => {
  const { client_id: clientId, client_secret: clientSecret } = credential.app;
  const manager = ApplicationCredentialsManager.fromCredentials({ clientId, clientSecret, portal });
  assert.ok((await manager.getToken(portal)).length > 20);
  const wrong = ApplicationCredentialsManager.fromCredentials({ clientId, clientSecret: "0".repeat(32), portal });
  await assert.rejects(wrong.getToken(portal), /Invalid client_secret/);
});

// authorize signs in at the form as a browser would and gives the code.
async function authorize(challenge) {
  const form = new URLSearchParams({
    client_id: world.oauthClient,
    response_type: "code",
    redirect_uri: world.redirectUri,
    state: "s1",
    username,
    password,
    ...challenge,
  });
  const sent = await fetch(`${portal}/oauth2/authorize`, { method: "POST", body: form, redirect: "manual" });
  const back = new URL(sent.headers.get("location"));
  assert.equal(back.searchParams.get("state"), "s1");
  return back.searchParams.get("code");
}

await step("OAuth sign-in, refreshed, exchanged and revoked", async () => {
  const options = { clientId: world.oauthClient, redirectUri: world.redirectUri, portal };
  const session = await ArcGISIdentityManager.exchangeAuthorizationCode(options, await authorize({}));
  assert.equal(session.username, username);
  const first = session.token;
  await session.refreshCredentials();
  assert.notEqual(session.token, first);
  const before = session.refreshToken;
  await session.exchangeRefreshToken();
  assert.notEqual(session.refreshToken, before);
  await revokeToken({ portal, clientId: world.oauthClient, token: session.refreshToken });
  await assert.rejects(session.refreshCredentials());
});

await step("fetchToken with PKCE", async () => {
  const verifier = randomBytes(32).toString("base64url");
  const challenge = {
    code_challenge: createHash("sha256").update(verifier).digest("base64url"),
    code_challenge_method: "S256",
  };
  const exchange = (code, code_verifier) =>
    fetchToken(`${portal}/oauth2/token`, {
      params: {
        grant_type: "authorization_code",
        client_id: world.oauthClient,
        redirect_uri: world.redirectUri,
        code,
        code_verifier,
      },
    });
  assert.equal((await exchange(await authorize(challenge), verifier)).username, username);
  await assert.rejects(exchange(await authorize(challenge), "another verifier"), refusal(400, "Invalid code_verifier"));
});

await step("the credential goes", () => removeItem({ id: credential.id, authentication, portal }));
console.log("done");
