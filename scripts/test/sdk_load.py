"""The official Python SDK as a load: `python sdk_load.py URL TOKEN SECONDS CLIENTS`, in front of at_once.py's endpoints.

Each request names a word, in a header, that its answer must say. Prints one JSON object at its end: how many were answered, how many
streams were left in their middle, how many broken answers it was told of, and which were lost.
"""
import asyncio, json, sys, time

import anthropic

url, token, seconds, clients = sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4])
PIECES = 12
told = {"answered": 0, "left": 0, "told": 0, "lost": []}


async def ask(client, n, word):
    text = "x" * (200_000 if n % 8 == 5 else 20)
    request = {"model": "claude-a", "max_tokens": 64, "messages": [{"role": "user", "content": text}]}
    headers = {"x-word": word}
    if n % 2:
        answer = await client.messages.create(**request, extra_headers=headers)
        assert answer.content[0].text == word, answer
        told["answered"] += 1
        return
    breaks = n % 8 == 4
    headers |= {"x-stream": "yes"} | ({"x-break": "yes"} if breaks else {})
    try:
        async with client.messages.stream(**request, extra_headers=headers) as stream:
            if n % 16 == 8:
                async for _ in stream:
                    told["left"] += 1
                    return
            answer = await stream.get_final_message()
    except Exception:  # The SDK's own, or its HTTP library's, which is another one in each major version.
        if not breaks:
            raise
        told["told"] += 1
        return
    assert answer.content[0].text == f"{word} " * PIECES and answer.stop_reason == "end_turn", answer
    told["answered"] += 1


async def run(client, number, end):
    n = number
    while time.monotonic() < end:
        n += 1
        word = f"python-{number}-{n}"
        try:
            await ask(client, n, word)
        except Exception as err:
            told["lost"].append(f"{word}: {type(err).__name__}: {err}"[:300])
        await asyncio.sleep(0.02)


async def main():
    async with anthropic.AsyncAnthropic(base_url=url, api_key=token, timeout=60) as client:
        await asyncio.gather(*(run(client, number, time.monotonic() + seconds) for number in range(clients)))
    print(json.dumps(told))


asyncio.run(main())
