"""The official Python SDK through the balancer: `python sdk.py URL TOKEN`, in front of fake.py as endpoints one and two.

One line a check; exit 1 when any failed.
"""
import asyncio, sys

import anthropic

URL, TOKEN = sys.argv[1:]
# No retries: what the SDK would smooth over must not reach it.
client = anthropic.Anthropic(base_url=URL, api_key=TOKEN, max_retries=0, timeout=30)
failed = 0


def ask(model, text="hello"):
    return {"model": model, "max_tokens": 64, "messages": [{"role": "user", "content": text}]}


def check(name):
    def run(test):
        global failed
        try:
            note = test()
            print(f"ok   python  {name}{': ' + note if note else ''}", flush=True)
        except Exception as err:
            failed += 1
            print(f"FAIL python  {name}: {type(err).__name__}: {err}", flush=True)
    return run


def raises(kind, call):
    try:
        call()
    except kind as err:
        return err
    raise AssertionError(f"no {kind.__name__}")


@check("create, each endpoint in turn")
def _():
    texts = [client.messages.create(**ask("claude-a")).content[0].text for _ in range(4)]
    assert sorted(texts) == ["one heard: hello"] * 2 + ["two heard: hello"] * 2, texts


@check("stream with the final message")
def _():
    with client.messages.stream(**ask("claude-a", "grüße, 世界")) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert text.endswith("heard: grüße, 世界"), text
    assert final.content[0].text == text and final.stop_reason == "end_turn" and final.usage.input_tokens == 7, final


@check("count_tokens")
def _():
    assert client.messages.count_tokens(model="claude-a", messages=ask("")["messages"]).input_tokens > 0


@check("models, two pages")
def _():
    ids = [model.id for model in client.models.list(limit=2)]
    assert ids == ["claude-a", "claude-b", "claude-c"], ids


@check("50 streams at once")
def _():
    async def one(many, n):
        async with many.messages.stream(**ask("claude-a", f"number {n}")) as stream:
            return (await stream.get_final_message()).content[0].text

    async def all_of_them():
        async with anthropic.AsyncAnthropic(base_url=URL, api_key=TOKEN, max_retries=0, timeout=30) as many:
            return await asyncio.gather(*(one(many, n) for n in range(50)))

    texts = asyncio.run(all_of_them())
    assert [t.split("heard: ")[1] for t in texts] == [f"number {n}" for n in range(50)], texts
    share = sum(t.startswith("one") for t in texts)
    assert share == 25, f"endpoint one served {share}"


@check("a failover is not noticed: 529, 500, 429, reset, and streams that end or err before their first event")
def _():
    for kind in ("529", "500", "429", "reset"):
        for _ in range(4):
            text = client.messages.create(**ask(f"sick-{kind}")).content[0].text
            assert text == "two heard: hello", (kind, text)
    for kind in ("529", "reset", "empty", "first-event"):
        for _ in range(4):
            with client.messages.stream(**ask(f"sick-{kind}")) as stream:
                assert stream.get_final_text() == "two heard: hello", kind


@check("a stream that breaks off is an error, not a short answer")
def _():
    def call():
        with client.messages.stream(**ask("cut", "a text of some length")) as stream:
            stream.get_final_message()
    return str(raises(anthropic.APIError, call))


@check("a wrong client token is AuthenticationError")
def _():
    stranger = anthropic.Anthropic(base_url=URL, api_key="wrong", max_retries=0)
    raises(anthropic.AuthenticationError, lambda: stranger.messages.create(**ask("claude-a")))


for status, kind in ((400, anthropic.BadRequestError), (404, anthropic.NotFoundError), (429, anthropic.RateLimitError),
                     (529, anthropic.InternalServerError)):
    @check(f"{status} is {kind.__name__}")
    def _():
        err = raises(kind, lambda: client.messages.create(**ask(f"status-{status}")))
        assert err.status_code == status and f"scripted {status}" in str(err), err
        assert err.request_id in ("req_one", "req_two"), err.request_id


# Last: after it both endpoints are on cooldown.
@check("endpoints that refuse their token are no fault of the client's")
def _():
    err = raises(anthropic.InternalServerError, lambda: client.messages.create(**ask("status-401")))
    assert err.status_code == 500 and "token" in str(err), err

sys.exit(bool(failed))
