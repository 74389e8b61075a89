// The official TypeScript SDK as a load: `node sdk_load.mjs URL TOKEN SECONDS CLIENTS`. The same as sdk_load.py.
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import Anthropic from "@anthropic-ai/sdk";

const [baseURL, authToken, seconds, clients] = process.argv.slice(2);
const client = new Anthropic({ baseURL, authToken, apiKey: null, timeout: 60_000 });
const PIECES = 12;
const told = { answered: 0, left: 0, told: 0, lost: [] };

async function ask(n, word) {
  const content = "x".repeat(n % 8 === 5 ? 200_000 : 20);
  const request = { model: "claude-a", max_tokens: 64, messages: [{ role: "user", content }] };
  const headers = { "x-word": word };
  if (n % 2) {
    const answer = await client.messages.create(request, { headers });
    assert.equal(answer.content[0].text, word);
    told.answered += 1;
    return;
  }
  const breaks = n % 8 === 4;
  Object.assign(headers, { "x-stream": "yes" }, breaks ? { "x-break": "yes" } : {});
  let answer;
  try {
    const stream = client.messages.stream(request, { headers });
    if (n % 16 === 8) {
      for await (const _ of stream) {
        stream.abort();
        told.left += 1;
        return;
      }
    }
    answer = await stream.finalMessage();
  } catch (err) {
    if (!breaks || !(err instanceof Anthropic.APIError || err instanceof Anthropic.AnthropicError)) throw err;
    told.told += 1;
    return;
  }
  assert.equal(answer.content[0].text, `${word} `.repeat(PIECES));
  assert.equal(answer.stop_reason, "end_turn");
  told.answered += 1;
}

async function run(number, end) {
  for (let n = number + 1; performance.now() < end; n += 1) {
    const word = `node-${number}-${n}`;
    try {
      await ask(n, word);
    } catch (err) {
      told.lost.push(`${word}: ${String(err?.stack ?? err).slice(0, 300)}`);
    }
    await sleep(20);
  }
}

const end = performance.now() + seconds * 1000;
await Promise.all(Array.from({ length: Number(clients) }, (_, number) => run(number, end)));
console.log(JSON.stringify(told));
