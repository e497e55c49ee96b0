"""Python's client libraries, unmodified, against a server that runs: chat, stream, a tool and its result, an answer of
a schema, embeddings, errors. For comparison only; nothing else here needs Python.

    pip install openai anthropic ollama instructor pydantic-ai-slim[openai] litellm langchain-openai \
        llama-index-llms-openai-like llama-index-embeddings-openai-like
    hundredweight serve MODEL --port 8471
    python scripts/python-clients.py [http://127.0.0.1:8471] [LIBRARY ...]

Prints a row for each library, and why a case failed. Exit code 1 when one did. The model has to know tools; calls and
forms are asked for where the library lets one, so that a small model does.
"""
import importlib.metadata
import json
import sys
import traceback

from pydantic import BaseModel

arguments = sys.argv[1:]
base = arguments.pop(0) if arguments and arguments[0].startswith("http") else "http://127.0.0.1:8471"
v1 = f"{base}/v1"
ask = [{"role": "user", "content": "Say hello in one short sentence."}]
weather = [{"role": "user", "content": "What is the weather in Paris? Use the tool."}]
parameters = {"type": "object", "properties": {"city": {"type": "string", "maxLength": 20}}, "required": ["city"]}
function = {"name": "get_weather", "description": "The weather of a city.", "parameters": parameters}
tools = [{"type": "function", "function": function}]
common = dict(max_tokens=60, temperature=0, seed=1)


class City(BaseModel):
    """Where somebody is."""

    name: str
    country: str


place = [{"role": "user", "content": "Paris is in France. Give the city and its country as JSON."}]
schema = {**City.model_json_schema(), "additionalProperties": False}
form = {"type": "json_schema", "json_schema": {"name": "city", "schema": schema, "strict": True}}


def refused(kind, call):
    """It has to end with this error of the library's own."""
    try:
        call()
    except kind:
        return
    raise AssertionError(f"no {kind.__name__}")


def of_openai():
    import openai

    client = openai.OpenAI(base_url=v1, api_key="none", max_retries=0)
    create = lambda **more: client.chat.completions.create(**{"model": "any", **common, **more})

    def tool():
        message = create(messages=weather, tools=tools, tool_choice="required").choices[0].message
        call = message.tool_calls[0]
        assert "city" in json.loads(call.function.arguments)
        result = {"role": "tool", "tool_call_id": call.id, "content": "22 degrees"}
        said = create(messages=[*weather, message.to_dict(), result], tools=tools, tool_choice="none")
        assert said.choices[0].message.content

    def response():
        answer = client.responses.create(model="any", input="Say hello.", max_output_tokens=20, store=False)
        assert answer.output_text

    return {
        "chat": lambda: create(messages=ask).choices[0].message.content or 1 / 0,
        "stream": lambda: [c for c in create(messages=ask, stream=True) if c.choices[0].delta.content] or 1 / 0,
        "tool": tool,
        "form": lambda: City.model_validate_json(create(messages=place, response_format=form).choices[0].message.content),
        "embed": lambda: len(client.embeddings.create(model="any", input=["a", "b"]).data[1].embedding) or 1 / 0,
        "error": lambda: refused(openai.BadRequestError, lambda: create(messages=[])),
        "responses": response,
    }


def of_anthropic():
    import anthropic

    client = anthropic.Anthropic(base_url=base, api_key="none", max_retries=0)
    create = lambda **more: client.messages.create(**{"model": "any", "max_tokens": 60, **more})
    own = [{"name": "get_weather", "description": "The weather of a city.", "input_schema": parameters}]

    def stream():
        with client.messages.stream(model="any", max_tokens=30, messages=ask) as events:
            assert "".join(events.text_stream) and events.get_final_message().stop_reason

    def tool():
        answer = create(messages=weather, tools=own, tool_choice={"type": "any"})
        call = next(block for block in answer.content if block.type == "tool_use")
        result = {"type": "tool_result", "tool_use_id": call.id, "content": "22 degrees"}
        said = [{"role": "assistant", "content": [b.to_dict() for b in answer.content]}]
        assert create(messages=[*weather, *said, {"role": "user", "content": [result]}], tools=own).content

    def formed():
        answer = create(messages=place, output_config={"format": {"type": "json_schema", "schema": schema}})
        City.model_validate_json(answer.content[0].text)

    return {
        "chat": lambda: create(messages=ask).content[0].text or 1 / 0,
        "stream": stream,
        "tool": tool,
        "form": formed,
        "error": lambda: refused(anthropic.BadRequestError, lambda: create(messages=[])),
        "count": lambda: client.messages.count_tokens(model="any", messages=ask).input_tokens or 1 / 0,
    }


def of_ollama():
    import ollama

    client = ollama.Client(host=base)
    name = client.list().models[0].model
    options = {"num_predict": 60, "temperature": 0, "seed": 1}
    chat = lambda **more: client.chat(**{"model": name, "options": options, **more})

    def tool():
        answer = chat(messages=weather, tools=tools)
        calls = answer.message.tool_calls
        assert calls, f"no call: {answer.message.content!r}"
        result = {"role": "tool", "tool_name": calls[0].function.name, "content": "22 degrees"}
        assert chat(messages=[*weather, answer.message, result]).message.content

    return {
        "chat": lambda: chat(messages=ask).message.content or 1 / 0,
        "stream": lambda: [part for part in chat(messages=ask, stream=True)][-1].done or 1 / 0,
        "tool": tool,
        "form": lambda: City.model_validate_json(chat(messages=place, format=schema).message.content),
        "embed": lambda: len(client.embed(model=name, input=["a", "b"]).embeddings[1]) or 1 / 0,
        "error": lambda: refused(ollama.ResponseError, lambda: client.chat(model=name, messages=ask, format={"type": 3})),
        "generate": lambda: client.generate(model=name, prompt="Hello", options=options).response or 1 / 0,
    }


def of_instructor():
    import instructor
    import openai

    def made(mode, **more):
        client = instructor.from_openai(openai.OpenAI(base_url=v1, api_key="none"), mode=mode)
        return client.chat.completions.create(model="any", messages=place, response_model=City, **common, **more)

    return {
        "tool": lambda: made(instructor.Mode.TOOLS).name or 1 / 0,
        "form": lambda: made(getattr(instructor.Mode, "JSON_SCHEMA", instructor.Mode.JSON)).name or 1 / 0,
        "json": lambda: made(instructor.Mode.JSON).name or 1 / 0,
    }


def of_pydantic_ai():
    from pydantic_ai import Agent, ModelHTTPError, NativeOutput
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    model = OpenAIChatModel("any", provider=OpenAIProvider(base_url=v1, api_key="none"))
    settings = {"max_tokens": 60, "temperature": 0.0}
    text = ask[0]["content"]

    def stream():
        result = Agent(model, model_settings=settings).run_stream_sync(text)
        assert "".join(result.stream_text(delta=True))

    def tool():
        asked = []
        agent = Agent(model, model_settings=settings)

        async def once(_, definition):
            """A small model calls as long as there is something to call."""
            return None if asked else definition

        @agent.tool_plain(prepare=once)
        def get_weather(city: str) -> str:
            """The weather of a city."""
            asked.append(city)
            return "22 degrees"

        assert agent.run_sync(weather[0]["content"]).output and asked, "the tool was not called"

    def formed(kind):
        return Agent(model, output_type=kind, model_settings=settings).run_sync(place[0]["content"]).output

    wrong = lambda: Agent(model, model_settings={"max_tokens": -5}).run_sync(text)
    return {
        "chat": lambda: Agent(model, model_settings=settings).run_sync(text).output or 1 / 0,
        "stream": stream,
        "tool": tool,
        "form": lambda: formed(NativeOutput(City)).name or 1 / 0,
        "error": lambda: refused(ModelHTTPError, wrong),
        "output tool": lambda: formed(City).name or 1 / 0,
    }


def of_litellm():
    import litellm

    def create(provider="openai", **more):
        return litellm.completion(model=f"{provider}/any", api_base=v1, api_key="none", **{**common, **more})

    def tool():
        message = create(messages=weather, tools=tools, tool_choice="required").choices[0].message
        call = message.tool_calls[0]
        result = {"role": "tool", "tool_call_id": call.id, "content": "22 degrees"}
        said = create(messages=[*weather, message.model_dump(), result], tools=tools, tool_choice="none")
        assert said.choices[0].message.content

    embed = lambda: litellm.embedding(model="openai/any", api_base=v1, api_key="none", input=["a"]).data[0]
    return {
        "chat": lambda: create(messages=ask).choices[0].message.content or 1 / 0,
        "stream": lambda: [c for c in create(messages=ask, stream=True)] or 1 / 0,
        "tool": tool,
        "form": lambda: City.model_validate_json(create(messages=place, response_format=form).choices[0].message.content),
        "embed": lambda: len(embed()["embedding"]) or 1 / 0,
        "error": lambda: refused(litellm.BadRequestError, lambda: create(messages=ask, top_p=-3)),
    }


def of_langchain_openai():
    import openai
    from langchain_core.messages import HumanMessage, ToolMessage
    from langchain_core.tools import tool as as_tool
    from langchain_openai import ChatOpenAI, OpenAIEmbeddings

    def model(**more):
        return ChatOpenAI(base_url=v1, api_key="none", model="any", max_retries=0, **{**common, **more})

    @as_tool
    def get_weather(city: str) -> str:
        """The weather of a city."""
        return "22 degrees"

    def tool():
        human = HumanMessage(weather[0]["content"])
        answer = model().bind_tools([get_weather], tool_choice="required").invoke([human])
        call = answer.tool_calls[0]
        result = ToolMessage(get_weather.invoke(call["args"]), tool_call_id=call["id"])
        assert model().bind_tools([get_weather], tool_choice="none").invoke([human, answer, result]).content

    embeddings = OpenAIEmbeddings(base_url=v1, api_key="none", model="any", check_embedding_ctx_length=False)
    formed = lambda: model().with_structured_output(City, method="json_schema").invoke(place[0]["content"])
    return {
        "chat": lambda: model().invoke(ask[0]["content"]).content or 1 / 0,
        "stream": lambda: "".join(part.content for part in model().stream(ask[0]["content"])) or 1 / 0,
        "tool": tool,
        "form": lambda: formed().name or 1 / 0,
        "embed": lambda: len(embeddings.embed_documents(["a", "b"])[1]) or 1 / 0,
        "error": lambda: refused(openai.BadRequestError, lambda: model(temperature=-3).invoke("a")),
        "responses": lambda: model(use_responses_api=True, seed=None).invoke("Say hello.").content or 1 / 0,
    }


def of_llama_index_core():
    import openai
    from llama_index.core.llms import ChatMessage
    from llama_index.core.tools import FunctionTool
    from llama_index.embeddings.openai_like import OpenAILikeEmbedding
    from llama_index.llms.openai_like import OpenAILike

    own = dict(api_base=v1, api_key="none", model="any", is_chat_model=True, max_retries=0, context_window=4096)
    model = OpenAILike(**own, is_function_calling_model=True, max_tokens=60, temperature=0)
    said = [ChatMessage(role="user", content=ask[0]["content"])]

    def get_weather(city: str) -> str:
        """The weather of a city."""
        return "22 degrees"

    def tool():
        known = FunctionTool.from_defaults(get_weather)
        answer = model.predict_and_call([known], user_msg=weather[0]["content"])
        assert "22" in answer.response, answer.response

    embedding = OpenAILikeEmbedding(model_name="any", api_base=v1, api_key="none")
    formed = lambda: model.as_structured_llm(City).complete(place[0]["content"]).raw
    wrong = lambda: OpenAILike(**own, additional_kwargs={"top_p": -3}).complete("a")
    return {
        "chat": lambda: model.chat(said).message.content or 1 / 0,
        "stream": lambda: "".join(part.delta or "" for part in model.stream_chat(said)) or 1 / 0,
        "tool": tool,
        "form": lambda: formed().name or 1 / 0,
        "embed": lambda: len(embedding.get_text_embedding("a")) or 1 / 0,
        "error": lambda: refused(openai.BadRequestError, wrong),
    }


failed = False
print(f"| {'library':20} | {'version':8} | held | what failed")
for name, cases in [(key[3:].replace("_", "-"), value) for key, value in globals().items() if key.startswith("of_")]:
    if arguments and name not in arguments:
        continue
    package = "pydantic-ai-slim" if name == "pydantic-ai" else name
    wrong, reasons, count = [], [], 0
    try:
        version = importlib.metadata.version(package)
        for case, run in cases().items():
            count += 1
            try:
                run()
            except Exception as error:
                wrong.append(case)
                where = traceback.extract_tb(error.__traceback__)[-1]
                reasons.append(f"    {case}: {type(error).__name__}: {str(error)[:300]} ({where.name}:{where.lineno})")
    except (ImportError, importlib.metadata.PackageNotFoundError) as error:
        version = "-"
        wrong.append(f"not there: {error}")
    failed |= bool(wrong)
    print(f"| {name:20} | {version:8} | {count - len(wrong)} of {count} | {', '.join(wrong)}", *reasons, sep="\n", flush=True)
sys.exit(1 if failed else 0)
