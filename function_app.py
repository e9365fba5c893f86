"""The Azure Functions app: which trigger calls which handler, and nothing else.

Indexing runs this module in every new process, so it imports the decorators alone; what a
function needs is imported at its first call. Queues, schedules and the account are app
settings (local.settings.json.example); what the handlers do is in
observer_core/runtime/handlers.py, and the picture is in docs/functions.md.
"""

from typing import TYPE_CHECKING

import azure.functions as func

if TYPE_CHECKING:
    from observer_core.runtime.handlers import Handlers

ACCOUNT = "AzureWebJobsStorage"
QUEUE = "%OBSERVER_QUEUE_PREFIX%"

app = func.FunctionApp(http_auth_level=func.AuthLevel.FUNCTION)


def _handlers() -> "Handlers":
    from observer_core.runtime.handlers import of_process

    return of_process()


# What is due is computed from checkpoints: a tick that was missed or is late needs no making up,
# so the host need not keep books about these timers either.


@app.timer_trigger(arg_name="timer", schedule="%OBSERVER_COLLECT_SCHEDULE%", use_monitor=False)
def collect(timer: func.TimerRequest) -> None:
    _handlers().collect()


@app.timer_trigger(arg_name="timer", schedule="%OBSERVER_CLOCK_SCHEDULE%", use_monitor=False)
def clock(timer: func.TimerRequest) -> None:
    _handlers().clock()


@app.timer_trigger(arg_name="timer", schedule="%OBSERVER_SWEEP_SCHEDULE%", use_monitor=False)
def sweep(timer: func.TimerRequest) -> None:
    _handlers().sweep()


@app.timer_trigger(arg_name="timer", schedule="%OBSERVER_MAINTAIN_SCHEDULE%", use_monitor=False)
def maintain(timer: func.TimerRequest) -> None:
    _handlers().maintain()


@app.timer_trigger(arg_name="timer", schedule="%OBSERVER_BACKUP_SCHEDULE%", use_monitor=False)
def backup(timer: func.TimerRequest) -> None:
    _handlers().backup()


@app.queue_trigger(arg_name="message", queue_name=f"{QUEUE}-collect-source", connection=ACCOUNT)
def collect_source(message: func.QueueMessage) -> None:
    _handlers().collect_source(message.get_body())


@app.queue_trigger(arg_name="message", queue_name=f"{QUEUE}-push", connection=ACCOUNT)
def push(message: func.QueueMessage) -> None:
    _handlers().push(message.get_body())


@app.queue_trigger(arg_name="message", queue_name=f"{QUEUE}-recognise", connection=ACCOUNT)
def recognise(message: func.QueueMessage) -> None:
    _handlers().recognise(message.get_body())


@app.queue_trigger(arg_name="message", queue_name=f"{QUEUE}-publish", connection=ACCOUNT)
def publish(message: func.QueueMessage) -> None:
    _handlers().publish(message.get_body())


@app.queue_trigger(arg_name="message", queue_name=f"{QUEUE}-decide", connection=ACCOUNT)
def decide(message: func.QueueMessage) -> None:
    _handlers().decide(message.get_body())


@app.queue_trigger(arg_name="message", queue_name=f"{QUEUE}-route", connection=ACCOUNT)
def route(message: func.QueueMessage) -> None:
    _handlers().route(message.get_body())


@app.queue_trigger(arg_name="message", queue_name=f"{QUEUE}-deliver", connection=ACCOUNT)
def deliver(message: func.QueueMessage) -> None:
    _handlers().deliver(message.get_body())


# The host moves a message that failed too often to its queue's poison queue. Nobody else reads these.


def _bury(stage: str, message: func.QueueMessage) -> None:
    _handlers().poison(
        stage, message.get_body(), message_id=message.id or "", dequeue_count=message.dequeue_count or 0
    )


@app.queue_trigger(arg_name="message", queue_name=f"{QUEUE}-collect-source-poison", connection=ACCOUNT)
def collect_source_poison(message: func.QueueMessage) -> None:
    _bury("collect-source", message)


@app.queue_trigger(arg_name="message", queue_name=f"{QUEUE}-push-poison", connection=ACCOUNT)
def push_poison(message: func.QueueMessage) -> None:
    _bury("push", message)


@app.queue_trigger(arg_name="message", queue_name=f"{QUEUE}-recognise-poison", connection=ACCOUNT)
def recognise_poison(message: func.QueueMessage) -> None:
    _bury("recognise", message)


@app.queue_trigger(arg_name="message", queue_name=f"{QUEUE}-publish-poison", connection=ACCOUNT)
def publish_poison(message: func.QueueMessage) -> None:
    _bury("publish", message)


@app.queue_trigger(arg_name="message", queue_name=f"{QUEUE}-decide-poison", connection=ACCOUNT)
def decide_poison(message: func.QueueMessage) -> None:
    _bury("decide", message)


@app.queue_trigger(arg_name="message", queue_name=f"{QUEUE}-route-poison", connection=ACCOUNT)
def route_poison(message: func.QueueMessage) -> None:
    _bury("route", message)


@app.queue_trigger(arg_name="message", queue_name=f"{QUEUE}-deliver-poison", connection=ACCOUNT)
def deliver_poison(message: func.QueueMessage) -> None:
    _bury("deliver", message)


@app.route("health", trigger_arg_name="request", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
def health(request: func.HttpRequest) -> func.HttpResponse:
    from observer_core.web.functions import health_summary

    status, body, media_type = health_summary()
    return func.HttpResponse(body, status_code=status, mimetype=media_type)


# For the platform, which replaces instances and holds back swaps: a source that is down is no reason to.
@app.route("readyz", trigger_arg_name="request", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
def ready(request: func.HttpRequest) -> func.HttpResponse:
    from observer_core.web.functions import ready_summary

    status, body, media_type = ready_summary()
    return func.HttpResponse(body, status_code=status, mimetype=media_type)


# The page without data: a browser cannot send a key with its first request. The host knows no empty
# route, and tries a route with a constraint, or with literal parts, before one without.


async def _page(request: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    from observer_core.web.functions import page

    middleware = func.AsgiMiddleware(page)  # type: ignore[no-untyped-call]
    answer: func.HttpResponse = await middleware.handle_async(request, context)
    return answer


@app.route(
    "{nothing:maxlength(0)?}",
    trigger_arg_name="request",
    methods=["GET", "HEAD"],
    auth_level=func.AuthLevel.ANONYMOUS,
)
async def page(request: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    return await _page(request, context)


@app.route(
    "assets/{*path}",
    trigger_arg_name="request",
    methods=["GET", "HEAD"],
    auth_level=func.AuthLevel.ANONYMOUS,
)
async def assets(request: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    return await _page(request, context)


@app.route(
    "{*path}",
    trigger_arg_name="request",
    methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"],
)
async def api(request: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    from observer_core.web.functions import asgi

    middleware = func.AsgiMiddleware(asgi)  # type: ignore[no-untyped-call]
    answer: func.HttpResponse = await middleware.handle_async(request, context)
    return answer
