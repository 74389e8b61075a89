// The official TypeScript SDK through the balancer: `node sdk.mjs URL TOKEN`, in front of fake.py as endpoints one and two.
// One line a check; exit 1 when any failed. The same story as sdk.py, with the token as a bearer.
import assert from "node:assert/strict";
import Anthropic from "@anthropic-ai/sdk";

const [baseURL, authToken] = process.argv.slice(2);
// No retries: what the SDK would smooth over must not reach it.
const client = new Anthropic({ baseURL, authToken, apiKey: null, maxRetries: 0, timeout: 30_000 });
const ask = (model, content = "hello") => ({ model, max_tokens: 64, messages: [{ role: "user", content }] });
let failed = 0;

async function check(name, test) {
  try {
    const note = await test();
    console.log(`ok   node    ${name}${note ? `: ${note}` : ""}`);
  } catch (err) {
    failed += 1;
    console.log(`FAIL node    ${name}: ${String(err?.stack ?? err).split("\n").slice(0, 3).join(" ")}`);
  }
}

await check("create, each endpoint in turn", async () => {
  const texts = [];
  for (let n = 0; n < 4; n += 1) texts.push((await client.messages.create(ask("claude-a"))).content[0].text);
  assert.deepEqual(texts.sort(), ["one heard: hello", "one heard: hello", "two heard: hello", "two heard: hello"]);
});

await check("stream with the final message", async () => {
  const stream = client.messages.stream(ask("claude-a", "grüße, 世界"));
  let text = "";
  stream.on("text", (piece) => { text += piece; });
  const final = await stream.finalMessage();
  assert.match(text, /heard: grüße, 世界$/);
  assert.equal(final.content[0].text, text);
  assert.equal(final.stop_reason, "end_turn");
});

await check("count_tokens", async () => {
  const { messages } = ask("");
  assert.ok((await client.messages.countTokens({ model: "claude-a", messages })).input_tokens > 0);
});

await check("models, two pages", async () => {
  const ids = [];
  for await (const model of client.models.list({ limit: 2 })) ids.push(model.id);
  assert.deepEqual(ids, ["claude-a", "claude-b", "claude-c"]);
});

await check("50 streams at once", async () => {
  const numbers = Array.from({ length: 50 }, (_, n) => n);
  const texts = await Promise.all(numbers.map((n) => client.messages.stream(ask("claude-a", `number ${n}`)).finalText()));
  assert.deepEqual(texts.map((t) => t.split("heard: ")[1]), numbers.map((n) => `number ${n}`));
  assert.equal(texts.filter((t) => t.startsWith("one")).length, 25);
});

await check("a failover is not noticed: 529, 500, 429, reset, and streams that end or err before their first event", async () => {
  for (const kind of ["529", "500", "429", "reset"]) {
    for (let n = 0; n < 4; n += 1) {
      assert.equal((await client.messages.create(ask(`sick-${kind}`))).content[0].text, "two heard: hello", kind);
    }
  }
  for (const kind of ["529", "reset", "empty", "first-event"]) {
    for (let n = 0; n < 4; n += 1) {
      assert.equal(await client.messages.stream(ask(`sick-${kind}`)).finalText(), "two heard: hello", kind);
    }
  }
});

await check("a stream that breaks off is an error, not a short answer", async () => {
  const broken = client.messages.stream(ask("cut", "a text of some length")).finalMessage();
  await assert.rejects(broken, Anthropic.APIError);
});

await check("a wrong client token is AuthenticationError", async () => {
  const stranger = new Anthropic({ baseURL, apiKey: "wrong", maxRetries: 0 });
  await assert.rejects(stranger.messages.create(ask("claude-a")), Anthropic.AuthenticationError);
});

for (const [status, kind] of [[400, Anthropic.BadRequestError], [404, Anthropic.NotFoundError], [429, Anthropic.RateLimitError],
  [529, Anthropic.InternalServerError]]) {
  await check(`${status} is ${kind.name}`, () => assert.rejects(
    client.messages.create(ask(`status-${status}`)),
    (err) => err instanceof kind && err.status === status && err.message.includes(`scripted ${status}`)
      && ["req_one", "req_two"].includes(err.requestID),
  ));
}

// Last: after it both endpoints are on cooldown.
await check("endpoints that refuse their token are no fault of the client's", () => assert.rejects(
  client.messages.create(ask("status-401")),
  (err) => err instanceof Anthropic.InternalServerError && err.status === 500 && err.message.includes("token"),
));

process.exit(failed ? 1 : 0);
